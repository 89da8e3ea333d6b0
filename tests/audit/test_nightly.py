from __future__ import annotations

from subprocess import CompletedProcess

import pytest

from recsae_lib.audit import JOBS
from recsae_lib.warehouse import tables
from tests.audit.conftest import Night
from tests.workspace import Workspace, different_tables

pytestmark = pytest.mark.integration


def test_a_night_publishes_the_tables_of_an_audit_which_runs_every_job_again(
    night: Night, audited: tuple[Workspace, CompletedProcess[str]]
) -> None:
    if night.command is None:
        pytest.skip("there is no .venv-airflow; `make install-airflow` makes it")
    assert night.command.returncode == 0, night.command.stdout + night.command.stderr
    assert "nightly_audit: success" in night.command.stdout
    workspace, audit = audited
    assert [job for job in JOBS if f"{job}: done in" not in audit.stderr] == []
    assert different_tables(night.published, workspace.published()) == []
    assert [row[3] for row in workspace.rows(tables.AUDITS)] == ["published"]
