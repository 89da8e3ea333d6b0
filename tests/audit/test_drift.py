"""Nights of a changing world: the SAE goes on from the champion's weights, and its latents are compared night by night.

Representations are given (kind external), so that no recommender is trained; verification and coverage are left out.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from recsae_jobs import publish_audit
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.tracking.publication import promote_sae, tag_outcome
from recsae_lib.platform.tracking.registry import PUBLISHED_TAG
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publishing import publish_tables
from tests.planted import FEATURES, add_planted_feature, change_planted
from tests.publishing import publication
from tests.workspace import PLANTED_SETTINGS, Workspace, open_workspace

pytestmark = pytest.mark.integration

FIRST, SECOND, THIRD, FOURTH = (date(2026, 11, day) for day in (20, 21, 22, 23))
NEW_FEATURE = "vampire"
DIMENSION = 16
NAME = "recsae-planted"
JOBS = (
    "ingest_dataset",
    "train_recommender",
    "extract_representations",
    "recommend_items",
    "train_sae",
    "encode_latents",
    "compute_concept_terms",
    "compute_latent_effects",
    "interpret_concepts",
    "compare_versions",
)


@dataclass(frozen=True)
class World:
    """A workspace in which night after night is audited."""

    workspace: Workspace

    def context(self, job: str, dt: date, *overrides: str) -> JobContext:
        return self.workspace.context(job, "sae.start=champion", *overrides, dt=dt)

    def run(self, dt: date, *jobs: str, overrides: tuple[str, ...] = ()) -> None:
        for job in jobs:
            execute(self.context(job, dt, *overrides), job_named(job).load().run)

    def audit(self, dt: date) -> None:
        """Lay down the representations of the data as it is, and run the night up to the comparison."""
        write_tastes(self.workspace.folder)
        self.run(dt, *JOBS)

    def publish(self, dt: date) -> None:
        """Bring the night to main and its SAE to champion: publish_audit without concepts and checks."""
        context = self.context("publish_audit", dt)
        origin = publish_audit.origin_of(context, context.model_version, context.sae_version)
        publish_audit.announce(context, publish_tables(context.warehouse, origin))

    def drift(self, dt: date) -> list[dict[str, Any]]:
        rows = self.workspace.warehouse(dt).read(tables.CONCEPT_DRIFT).orderBy("pair").collect()
        return [row.asDict() for row in rows]


def write_tastes(folder: Path) -> None:
    """Write vectors of items, which say the planted feature, and of users, the mean of their items."""
    directions = np.linalg.qr(np.random.default_rng(3).standard_normal((DIMENSION, DIMENSION)))[0]
    items, interactions = (pd.read_csv(folder / "data" / f"{name}.csv") for name in ("items", "interactions"))
    number = items["features"].map([*FEATURES, NEW_FEATURE].index)
    vectors = directions[number] + 0.05 * np.random.default_rng(4).standard_normal((1000, DIMENSION))[: len(items)]
    rows = interactions["item_id"].str.removeprefix("i").astype(int)
    users = pd.DataFrame(vectors[rows]).groupby(interactions["user_id"]).mean()
    x = pa.array(users.to_numpy(np.float32).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"user_id": pa.array(users.index), "representation": x}), folder / "x.parquet")
    embeddings = {"item_id": pa.array(items["item_id"]), "embedding": pa.array(vectors.tolist())}
    pq.write_table(pa.table(embeddings), folder / "e.parquet")


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world after its first night, which is published."""
    workspace = open_workspace(spark, tmp_path_factory.mktemp("drifting"), "drifting")
    folder = workspace.folder
    external = {"representations": f"{folder}/x.parquet", "item_embeddings": f"{folder}/e.parquet"}
    settings = {**PLANTED_SETTINGS, "recommender": {"kind": "external", "external": external}}
    (folder / "conf" / "planted.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    world = World(workspace)
    world.audit(FIRST)
    assert world.drift(FIRST) == []  # nothing to compare with
    world.publish(FIRST)
    return world


def test_nights_of_a_slowly_changing_world(world: World) -> None:
    data, registry = world.workspace.folder / "data", world.context("tests", FIRST).registry
    for night, dt in enumerate((SECOND, THIRD), start=1):
        change_planted(data, share=0.02, seed=night)
        world.audit(dt)
        drift = world.drift(dt)
        assert len(drift) >= len(FEATURES)
        assert sum(row["change"] == "stable" for row in drift) >= 0.9 * len(drift)
        assert {(row["sae_version"], row["previous_sae_version"]) for row in drift} == {(night + 1, night)}
        assert {row["similarity_by"] for row in drift} == {"decoder"}
        stable = [row for row in drift if row["change"] == "stable"]
        assert {row["label"] for row in stable} == {row["previous_label"] for row in stable}
        assert all(row["latent_id"] == row["previous_latent_id"] for row in stable)
        tags = registry.tags(NAME, night + 1)
        assert tags["parent_version"] == str(night)
        assert len(tags["data_digest"]) == 16
        assert tags["code_version"].startswith("0.")
        world.publish(dt)
        published = world.workspace.warehouse(dt).published().newest.snapshots["interactions"]
        tags = registry.tags(NAME, night + 1)
        assert tags["interactions_snapshot"] == str(published)
        assert (tags["audit_status"], tags["audit_dt"], tags[PUBLISHED_TAG]) == ("published", str(dt), str(dt))
        assert (registry.champion(NAME), registry.resolve(NAME, "previous")) == (night + 1, night)
    assert "parent_version" not in registry.tags(NAME, 1)

    late = world.context("publish_audit", SECOND, "sae.version=2")
    promote_sae(late, publication(SECOND, 2), [FIRST, SECOND, THIRD])  # of an older date than the newest
    tag_outcome(late, 1, "failed")
    assert (registry.champion(NAME), registry.resolve(NAME, "previous")) == (3, 2)
    tags = registry.tags(NAME, 1)  # trained for another date: its snapshots are not those of this one
    assert (tags["audit_status"], tags["audit_dt"], tags[PUBLISHED_TAG]) == ("failed", str(SECOND), str(FIRST))
    first = world.workspace.warehouse(FIRST).published().newest.snapshots["interactions"]
    assert tags["interactions_snapshot"] == str(first)
    tag_outcome(late, 2, "published")

    world.run(THIRD, "compare_versions")
    assert world.drift(THIRD) == drift  # the same rows again
    world.run(THIRD, "compare_versions", overrides=("drift.against=1",))
    assert {(row["previous_sae_version"], row["previous_dt"]) for row in world.drift(THIRD)} == {(1, FIRST)}
    for against, part in (
        ("2026-11-22", "itself"),
        ("2026-11-01", "for 2026-11-01"),
        ("9", "SAE version 9 up to 2026-11-22"),
    ):
        with pytest.raises(InputError, match=part):
            world.run(THIRD, "compare_versions", overrides=(f"drift.against={against}",))
    world.context("tests", THIRD).warehouse.drop_branch(tables.CONCEPT_DRIFT)

    add_planted_feature(data, NEW_FEATURE)
    world.audit(FOURTH)
    drift = world.drift(FOURTH)
    assert {row["similarity_by"] for row in drift} == {"activations"}  # new item vectors are another recommender
    born = [row for row in drift if row["change"] == "born"]
    assert born
    assert {row["terms_gained"][0] for row in born} == {NEW_FEATURE}
    assert all(NEW_FEATURE in row["label"] for row in born)
    others = [row for row in drift if row["change"] != "born"]
    assert sum(row["change"] == "stable" for row in others) >= 0.9 * len(others)
    logged = latest_metrics()
    assert logged["born_latents"] == len(born)
    assert logged["stable_share"] == sum(row["change"] == "stable" for row in drift) / len(drift)


def latest_metrics() -> dict[str, float]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(NAME).experiment_id
    return client.search_runs([experiment], "tags.job = 'compare_versions'")[0].data.metrics


def test_promotion_is_one_command(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # In a registry of its own: the nights of the other test go on from the champion.
    for part in ("conf", "data", "var/mlflow"):
        shutil.copytree(world.workspace.folder / part, tmp_path / part, symlinks=True)
    workspace = replace(world.workspace, folder=tmp_path)
    workspace.relocate_models()
    conf = ("--conf", str(tmp_path / "conf" / "planted.yaml"))
    registry = workspace.context("tests", dt=FIRST).registry
    with registry.training_run(NAME, {"job": "tests"}, {}) as run:
        newest = registry.register_recommender(run, NAME, tmp_path / "data", "never audited", {})
    registry.promote(NAME, newest)
    assert workspace.recsae_here("promote", "1", *conf) == 0
    assert f"champion is version 1 (before: {newest})" in capsys.readouterr().out
    assert registry.champion(NAME) == 1
    assert registry.resolve(NAME, "previous") == newest
    for version, part in (("99", "no version 99"), ("previous", "--force"), (str(newest), "--force")):
        assert workspace.recsae_here("promote", version, *conf) == 2
        assert part in capsys.readouterr().err
    assert registry.champion(NAME) == 1
    assert workspace.recsae_here("promote", "previous", "--force", *conf) == 0
    assert registry.champion(NAME) == newest
    assert workspace.recsae_here("versions", *conf) == 0
    assert "champion" in capsys.readouterr().out
