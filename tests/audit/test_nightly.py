"""One night of the planted data set through a real Airflow and its scheduler, by spark-submit."""

from __future__ import annotations

import subprocess
import sys
from subprocess import CompletedProcess

import pytest
from pyspark.sql import SparkSession

from recsae_lib.warehouse import tables
from tests.workspace import DT, REPOSITORY, Workspace, different_tables, open_workspace

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

AIRFLOW = REPOSITORY / ".venv-airflow" / "bin" / "python"


def test_a_night_publishes_the_tables_of_an_audit(
    audited: tuple[Workspace, CompletedProcess[str]], spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not AIRFLOW.exists():
        pytest.skip("there is no .venv-airflow; `make install-airflow` makes it")
    workspace = open_workspace(spark, tmp_path_factory.mktemp("nightly"), "nightly")
    (workspace.folder / "jobs").symlink_to(REPOSITORY / "jobs")

    wiring = REPOSITORY / "airflow_dags" / "local_airflow.py"
    settings = ["--conf", "conf/planted.yaml", "--dt", DT.isoformat(), "--python", sys.executable]
    done = subprocess.run(
        [str(AIRFLOW), str(wiring), "night", *settings],
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nightly_audit: success" in done.stdout
    assert different_tables(workspace.published(), audited[0].published()) == []
    assert workspace.rows(tables.AUDITS)[0][3] == "published"
