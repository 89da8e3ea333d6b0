from __future__ import annotations

import os
import re
import signal
import threading
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pyspark.sql import SparkSession

from recsae_lib.audit import JOBS
from recsae_lib.config import load_settings
from recsae_lib.job import BASE_SETTINGS, execute
from recsae_lib.run_record import RunRecord
from recsae_lib.warehouse import tables
from tests.workspace import DT, Workspace, different_tables, open_workspace

pytestmark = pytest.mark.integration

ARGUMENTS = ("--conf", "conf/planted.yaml", "--dt", DT.isoformat())

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
    "compare_versions": ("warehouse/planted/concept_drift/metadata", "v*.json"),
    "publish_audit": ("warehouse/planted/interactions/metadata", "v*.json"),
}


def kill_within(workspace: Workspace, job: str, *command: str) -> str:
    """Start a command and kill all its processes once `job` has written something; returns its log."""
    folder, pattern = FIRST_WRITES[job]
    process = workspace.start(*command, *ARGUMENTS, start_new_session=True)
    assert process.stderr is not None
    started, over = threading.Event(), threading.Event()
    lines = []

    def follow() -> None:
        for line in process.stderr:
            lines.append(line)
            if re.search(rf"{job}: started", line):
                started.set()
            if re.search(rf"{job}: done in", line):
                over.set()
        over.set()

    follower = threading.Thread(target=follow)
    follower.start()
    while not started.wait(0.05) and not over.is_set():
        pass
    before = written(workspace.folder / "var" / folder, pattern)
    while not over.wait(0.02) and written(workspace.folder / "var" / folder, pattern) == before:
        pass
    assert started.is_set(), f"{job} was never reached: {''.join(lines)}"
    assert not over.is_set(), f"{job} ended before it could be killed: {''.join(lines)}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    follower.join()
    return "".join(lines)


def written(folder: Path, pattern: str) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.glob(pattern) if path.exists()}


def test_jobs_killed_half_way_leave_nothing_that_changes_the_tables(
    audited: tuple[Workspace, CompletedProcess[str]],
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(FIRST_WRITES) == set(JOBS)
    killed = open_workspace(spark, tmp_path / "killed", "killed")
    monkeypatch.chdir(killed.folder)
    record = RunRecord.open(load_settings(BASE_SETTINGS, Path("conf/planted.yaml"), []), DT)
    for job in JOBS:
        # The last one within an audit, which the jobs before it have been done for.
        log = kill_within(killed, job, *(["audit"] if job == JOBS[-1] else ["run", job]))
        assert not killed.warehouse().exists(tables.AUDITS)
        context = killed.context(job)
        record.finish_job(job, execute(context, import_module(f"jobs.{job}").run))
        if job == "ingest_dataset":
            record.note_data(context.warehouse.data_digest())
    for job in JOBS[1:-1]:
        assert f"{job}: done before the interruption" in log
        assert f"{job}: started" not in log
    whole, _ = audited
    assert different_tables(whole.published(), killed.published()) == []
