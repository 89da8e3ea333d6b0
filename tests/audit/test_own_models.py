"""Audits where only representations are known; that of a foreign torch module is in test_study.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyspark.sql import SparkSession

from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.warehouse import tables
from tests.planted import FEATURES
from tests.workspace import DT, PLANTED_SETTINGS, Workspace, open_workspace

pytestmark = pytest.mark.integration

ITEMS, DIMENSION = 240, 16


def taste_vectors(interactions: Path, noise: float = 0.05) -> tuple[pd.DataFrame, np.ndarray]:
    """Item vectors that say the planted feature, and users as the mean of their items."""
    random = np.random.default_rng(3)
    directions = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0][: len(FEATURES)]
    vectors = directions[np.arange(ITEMS) % len(FEATURES)] + noise * random.standard_normal((ITEMS, DIMENSION))
    rows = pd.read_csv(interactions)
    index = rows["item_id"].str.removeprefix("i").astype(int)
    users = pd.DataFrame(vectors[index]).groupby(rows["user_id"]).mean()
    return users, vectors


def write_lists(path: Path, **columns: pa.Array) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def write_settings(workspace: Workspace, recommender: dict[str, Any]) -> None:
    settings = {**PLANTED_SETTINGS, "recommender": recommender}
    (workspace.folder / "conf" / "planted.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def run(workspace: Workspace, *command: str) -> None:
    conf = workspace.folder / "conf" / "planted.yaml"
    assert workspace.recsae_here(*command, "--conf", str(conf), "--dt", DT.isoformat()) == 0


def interpretable(workspace: Workspace) -> int:
    return sum(bool(row["interpretable"]) for row in workspace.warehouse().read_published(tables.CONCEPTS).collect())


def metrics(workspace: Workspace) -> dict[tuple[str, str], float | None]:
    rows = workspace.warehouse().read_published(tables.AUDIT_METRICS).collect()
    return {(row["unit_kind"], row["metric"]): row["value"] for row in rows}


def representations_alone(folder: Path, users: pd.DataFrame) -> dict[str, Any]:
    """Settings of a recommender of which only users' representations are known, one of them broken."""
    x = [*users.to_numpy(np.float32).tolist(), [float("nan")] * DIMENSION]
    return {
        "representations": write_lists(
            folder / "x.parquet",
            user_id=pa.array([*users.index, "broken"]),
            representation=pa.array(x, pa.list_(pa.float32())),
        )
    }


def test_an_audit_of_representations_and_recommendations_alone(spark: SparkSession, tmp_path: Path) -> None:
    workspace = open_workspace(spark, tmp_path / "alone", "alone")
    users, vectors = taste_vectors(workspace.folder / "data" / "interactions.csv")
    best = np.argsort(-(users.to_numpy() @ vectors.T), axis=1)[:, :20]
    external = {
        **representations_alone(tmp_path, users),
        "recommendations": write_lists(
            tmp_path / "p.parquet",
            user_id=pa.array(users.index),
            item_ids=pa.array([[f"i{item}" for item in row] for row in best]),
        ),
    }
    write_settings(workspace, {"kind": "external", "external": external})
    run(workspace, "audit")

    assert interpretable(workspace) >= 3
    found = metrics(workspace)
    assert ("sae", "ndcg_at_10_kept") not in found
    assert found["sae", "coherence_item_embedding"] is None
    assert found["sae", "coherence_representation"] is not None
    recommended = workspace.warehouse().read_published(tables.RECOMMENDATIONS).collect()
    assert len(recommended) == 600
    assert {len(row["item_ids"]) for row in recommended} == {10}
    assert {len(row["context_ids"]) for row in recommended} == {10}
    bulk = str(workspace.folder / "var" / "bulk")
    last = RepresentationSet(bulk, "recommender-planted", 1, "last", "last", DT)
    rejected = pq.read_table(last.rejected("representations")).to_pylist()
    assert rejected == [{"id": "broken", "reason": "representation holds a null, NaN or infinity"}]


def test_items_are_recommended_by_embeddings_that_were_given(spark: SparkSession, tmp_path: Path) -> None:
    workspace = open_workspace(spark, tmp_path / "embedded", "embedded")
    users, vectors = taste_vectors(workspace.folder / "data" / "interactions.csv")
    item_ids = [f"i{item}" for item in range(ITEMS)]
    external = {
        **representations_alone(tmp_path, users),
        "item_embeddings": write_lists(
            tmp_path / "e.parquet", item_id=pa.array(item_ids), embedding=pa.array(vectors.tolist())
        ),
    }
    write_settings(workspace, {"kind": "external", "external": external})
    for job in ("ingest_dataset", "train_recommender", "extract_representations", "recommend_items"):
        run(workspace, "run", job)

    recommended = {
        row["user_id"]: row["item_ids"] for row in workspace.warehouse().read(tables.RECOMMENDATIONS).collect()
    }
    assert len(recommended) == 600
    assert {len(items) for items in recommended.values()} == {10}
    seen = pd.read_csv(workspace.folder / "data" / "interactions.csv").groupby("user_id")["item_id"].agg(set)
    scores = pd.DataFrame(users.to_numpy() @ vectors.T, index=users.index, columns=item_ids)
    for user in list(users.index)[:20]:
        fresh = scores.loc[user].drop(list(seen[user]))
        assert recommended[user] == fresh.nlargest(10).index.tolist()
