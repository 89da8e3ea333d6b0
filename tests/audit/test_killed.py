from __future__ import annotations

import os
import re
import signal
import threading
from importlib import import_module
from pathlib import Path

import pytest

from recsae_lib.audit import JOBS
from recsae_lib.config import load_settings
from recsae_lib.job import BASE_SETTINGS, execute
from recsae_lib.run_record import RunRecord
from recsae_lib.warehouse import tables
from tests.workspace import DT, Workspace, different_tables

pytestmark = pytest.mark.integration

ARGUMENTS = ("--conf", "conf/planted.yaml", "--dt", DT.isoformat())

# What a job writes first, as (folder, pattern): the sign that it is half-way.
FIRST_WRITES = {
    "ingest_dataset": ("warehouse/planted/interactions/metadata", "v*.json"),
    "train_recommender": ("mlflow", "mlflow.db"),
    "extract_representations": ("bulk/representations", "**/rows=last/**/*.parquet"),
    "recommend_items": ("warehouse/planted/recommendations/data", "**/*.parquet"),
    "train_sae": ("mlflow", "mlflow.db"),
    "encode_latents": ("warehouse/planted/latent_activations/data", "**/*.parquet"),
    "compute_concept_terms": ("warehouse/planted/latent_items/data", "**/*.parquet"),
    "interpret_concepts": ("warehouse/planted/concept_labels/data", "**/*.parquet"),
    "verify_concepts": ("warehouse/planted/verification_cases/data", "**/*.parquet"),
    "measure_coverage": ("warehouse/planted/concept_coverage/data", "**/*.parquet"),
    "compare_versions": ("warehouse/planted/concept_drift/metadata", "v*.json"),
    "publish_audit": ("warehouse/planted/interactions/metadata", "v*.json"),
}

SUMMARY = (
    *("NDCG@10", "FVU", "dead latents", "NDCG@10 kept", "expected by chance", "with shuffled labels", "coverage"),
    "Look next",
)


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


def main_of(workspace: Workspace) -> dict[str, int]:
    """The snapshot of every table that its readers see."""
    return {name: workspace.warehouse().references(table)["main"] for name, table in tables.TABLES.items()}


def test_a_night_whose_jobs_are_killed_half_way_and_done_again_comes_to_the_same_tables(
    audited: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(FIRST_WRITES) == set(JOBS)
    undisturbed, main = audited.published(), main_of(audited)
    monkeypatch.chdir(audited.folder)
    record = RunRecord.open(load_settings(BASE_SETTINGS, Path("conf/planted.yaml"), []), DT)
    for job in JOBS[:-1]:
        kill_within(audited, job, "run", job)
        context = audited.context(job)
        record.finish_job(job, execute(context, import_module(f"jobs.{job}").run))
        if job == "ingest_dataset":
            record.note_data(context.warehouse.data_digest())
        assert main_of(audited) == main, job

    # The last one within an audit, which goes on from the jobs that have been done.
    log = kill_within(audited, JOBS[-1], "audit")
    for job in JOBS[1:-1]:
        assert f"{job}: done before the interruption" in log
        assert f"{job}: started" not in log
    done = audited.audit()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for part in SUMMARY:
        assert part in done.stdout, part
    assert main_of(audited) != main
    assert different_tables(undisturbed, audited.published()) == []
    assert [row[3] for row in audited.rows(tables.AUDITS)] == ["published"]
