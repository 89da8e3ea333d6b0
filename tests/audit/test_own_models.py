"""Recommendations by item embeddings that were given; whole audits of own models are in test_study.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse import tables
from tests.tastes import ITEMS, representations_alone, taste_vectors, write_lists
from tests.workspace import DT, PLANTED_SETTINGS, Workspace, open_workspace

pytestmark = pytest.mark.integration


def write_settings(workspace: Workspace, recommender: dict[str, Any]) -> None:
    settings = {**PLANTED_SETTINGS, "recommender": recommender}
    (workspace.folder / "conf" / "planted.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def run(workspace: Workspace, *command: str) -> None:
    conf = workspace.folder / "conf" / "planted.yaml"
    assert workspace.recsae_here(*command, "--conf", str(conf), "--dt", DT.isoformat()) == 0


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
