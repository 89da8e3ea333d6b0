"""Killing a job once it has written something, with its JVM and its Python workers."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

from tests.workspace import DT, Workspace

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
    "compute_latent_effects": ("warehouse/planted/latent_effects/data", "**/*.parquet"),
    "interpret_concepts": ("warehouse/planted/concept_labels/data", "**/*.parquet"),
    "verify_concepts": ("warehouse/planted/verification_cases/data", "**/*.parquet"),
    "measure_coverage": ("warehouse/planted/concept_coverage/data", "**/*.parquet"),
    "tune_recommendations": ("warehouse/planted/tuned_recommendations/metadata", "v*.json"),
    "compare_versions": ("warehouse/planted/concept_drift/metadata", "v*.json"),
    "publish_audit": ("warehouse/planted/interactions/metadata", "v*.json"),
    "build_explorer": ("reports/planted", "**/.data-.unfinished/**/*.js"),
}


def kill_within(workspace: Workspace, job: str, *command: str, write: tuple[str, str] | None = None) -> str:
    """Start a command and kill all its processes once `job` has written something; returns its log.

    Parameters
    ----------
    write : what has to be written, as (folder, pattern); what the job writes first where it is not given.
    """
    folder, pattern = write or FIRST_WRITES[job]
    process = workspace.start(*command, *ARGUMENTS, start_new_session=True)
    said = process.stderr
    assert said is not None
    started, over = threading.Event(), threading.Event()
    lines = []

    def follow() -> None:
        for line in said:
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
