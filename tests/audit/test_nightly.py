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


def night(workspace: Workspace, *arguments: str) -> CompletedProcess[str]:
    wiring = REPOSITORY / "airflow_dags" / "local_airflow.py"
    return subprocess.run(
        [str(AIRFLOW), str(wiring), "night", "--conf", "conf/planted.yaml", "--python", sys.executable, *arguments],
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_night_publishes_the_tables_of_an_audit_and_a_refused_one_leaves_them(
    audited: tuple[Workspace, CompletedProcess[str]], spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not AIRFLOW.exists():
        pytest.skip("there is no .venv-airflow; `make install-airflow` makes it")
    workspace = open_workspace(spark, tmp_path_factory.mktemp("nightly"), "nightly")
    (workspace.folder / "jobs").symlink_to(REPOSITORY / "jobs")

    done = night(workspace, "--dt", DT.isoformat())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "night: success" in done.stdout
    published = workspace.published()
    assert different_tables(published, audited[0].published()) == []
    assert workspace.rows(tables.AUDITS)[0][3] == "published"

    refused = night(workspace, "--dt", DT.isoformat(), "--set", "checks.maximum_fvu=0.0001")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    skipped = [line.split()[0] for line in refused.stdout.splitlines() if " skipped " in line]
    asked_for = ["interpret_concepts_collect", "verify_concepts_collect"]  # of a language model, which is not asked
    assert sorted(skipped) == sorted(["train_recommender", "train_sae", *asked_for])  # both are registered
    assert "publish_audit failed:" in refused.stdout
    assert "failed checks:" in refused.stdout
    assert f"{workspace.folder}/var/reports/planted/{DT}/checks.json" in refused.stdout
    assert different_tables(workspace.published(), published) == []
    assert workspace.rows(tables.AUDITS)[0][3] == "failed"
