"""The tests of the DAGs, in Airflow's own environment: `make test` makes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.workspace import REPOSITORY

FOLDER = Path(__file__).with_name("in_airflow")
PYTHON = REPOSITORY / ".venv-airflow" / "bin" / "python"


# Airflow takes seconds to be imported: once for all that needs no scheduler.
SCHEDULED = str(FOLDER / "test_runs.py")
GROUPS = {"without_scheduler": [str(FOLDER), "--ignore", SCHEDULED], "runs": [SCHEDULED]}


@pytest.mark.integration
@pytest.mark.parametrize("group", GROUPS)
def test_in_airflow(group: str, pytestconfig: pytest.Config) -> None:
    if not PYTHON.exists():
        pytest.skip("there is no .venv-airflow; `make install-airflow` makes it")
    command = [str(PYTHON), "-m", "pytest", "-p", "no:cacheprovider", f"--confcutdir={FOLDER}", *GROUPS[group]]
    in_order = f"--randomly-seed={pytestconfig.getoption('randomly_seed')}"
    done = subprocess.run([*command, in_order], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
