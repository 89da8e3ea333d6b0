from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pyspark.sql import SparkSession

from recsae_lib.audit import JOBS
from recsae_lib.warehouse import tables
from tests.workspace import DT, Workspace, different_tables, open_workspace

pytestmark = pytest.mark.integration

# What a job writes first, as (folder, pattern): the sign that it is half-way.
FIRST_WRITES = {
    "ingest_dataset": ("warehouse/planted/interactions/metadata", "v*.json"),
    "train_recommender": ("mlflow", "mlflow.db"),
    "extract_representations": ("bulk/representations", "**/rows=last/**/*.parquet"),
    "recommend_items": ("warehouse/planted/recommendations/data", "**/*.parquet"),
    "train_sae": ("work/planted", "**/train_sae"),
    "encode_latents": ("warehouse/planted/latent_activations/data", "**/*.parquet"),
    "compute_concept_terms": ("warehouse/planted/latent_items/data", "**/*.parquet"),
    "interpret_concepts": ("warehouse/planted/concept_labels/data", "**/*.parquet"),
    "verify_concepts": ("warehouse/planted/verification_cases/data", "**/*.parquet"),
    "measure_coverage": ("warehouse/planted/concept_coverage/data", "**/*.parquet"),
    "publish_audit": ("warehouse/planted/interactions/metadata", "v*.json"),
}


def kill_within(workspace: Workspace, job: str) -> None:
    """Start the audit and kill all its processes once `job` has written something."""
    folder, pattern = FIRST_WRITES[job]
    process = workspace.start("audit", "--conf", "conf/planted.yaml", "--dt", DT.isoformat(), start_new_session=True)
    assert process.stderr is not None
    started, over = threading.Event(), threading.Event()

    def follow() -> None:
        for line in process.stderr:
            if re.search(rf"{job}: started", line):
                started.set()
            if re.search(rf"{job}: done", line):
                over.set()
        over.set()

    follower = threading.Thread(target=follow)
    follower.start()
    while not started.wait(0.05) and not over.is_set():
        pass
    before = written(workspace.folder / "var" / folder, pattern)
    while not over.wait(0.02) and written(workspace.folder / "var" / folder, pattern) == before:
        pass
    assert started.is_set(), f"the audit never reached {job}"
    assert not over.is_set(), f"{job} ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    follower.join()


def written(folder: Path, pattern: str) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.glob(pattern) if path.exists()}


def test_an_audit_killed_in_every_job_ends_with_the_same_tables(
    audited: tuple[Workspace, CompletedProcess[str]], spark: SparkSession, tmp_path: Path
) -> None:
    assert set(FIRST_WRITES) == set(JOBS)
    killed = open_workspace(spark, tmp_path / "killed", "killed")
    for job in JOBS:
        kill_within(killed, job)
        visible = [name for name, table in tables.TABLES.items() if killed.warehouse().exists(table)]
        assert "audits" not in visible
    last = killed.audit()
    assert last.returncode == 0, last.stderr
    for job in JOBS[1:-1]:
        assert f"{job}: done before the interruption" in last.stderr
    whole, _ = audited
    assert different_tables(whole.published(), killed.published()) == []
