from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recsae_lib.config import load_settings
from recsae_lib.config.shipped import shipped
from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.job.jobs import AUDIT_JOBS, job_named
from recsae_lib.platform.job.record import JobRecord
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.raw_history import data_digest
from tests.kills import kill_within
from tests.publishing import last_attempt
from tests.workspace import DT, Workspace, different_tables

pytestmark = pytest.mark.integration

# One that writes to the registry, and one that writes several tables. `make faults ONLY=kill_jobs` kills every job.
KILLED = ("train_sae", "verify_concepts")

SUMMARY = (
    *("NDCG@10", "FVU", "dead latents", "NDCG@10 kept", "confirmed", "shuffled", "coverage"),
    "Look next",
)


def main_of(workspace: Workspace) -> dict[str, int]:
    """The snapshot of every table that its readers see."""
    return dict(publications(workspace.warehouse())[-1].snapshots)


def test_jobs_killed_half_way_and_run_again_give_the_same_tables(
    audited: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, main = audited.published(), main_of(audited)
    for job in KILLED:
        kill_within(audited, job, "run", job)
        execute(audited.context(job), job_named(job).load().run)
        assert main_of(audited) == main, job

    # Publication is killed within an audit, which goes on from the jobs that have been done.
    monkeypatch.chdir(audited.folder)
    done = JobRecord(
        *("", "planted", DT.isoformat(), "2026-11-20T01:00:00+00:00", 1.0, "done"),
        config_digest=load_settings(shipped("base.yaml"), Path("conf/planted.yaml"), []).digest(),
        code_version=code_version(),
        data_digest=data_digest(audited.warehouse()),
    )
    _, *before, publication, _ = [job.name for job in AUDIT_JOBS]
    for job in before:
        replace(done, job=job).append_to(audited.folder / "var")
    log = kill_within(audited, publication, "audit")
    for job in before:
        assert f"{job}: done before the interruption" in log
        assert f"{job}: started" not in log
    again = audited.audit()
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr
    for part in SUMMARY:
        assert part in again.stdout, part
    assert main_of(audited) != main
    assert different_tables(undisturbed, audited.published()) == []
    assert last_attempt(audited.warehouse())[0] == "published"
