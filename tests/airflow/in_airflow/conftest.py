"""What the tests in Airflow's environment share. They know nothing of the suite's environment, which is another."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.in_airflow.stand_in import DAGS, StandIn

sys.path.insert(0, str(DAGS))  # as Airflow does with the folder of the DAGs
# Airflow reads where its files are when it is imported, and makes them there; they are not the user's.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    suite = StandIn(tmp_path)
    properties = {"properties-file": "conf/spark.conf", "properties": {"spark.ui.enabled": "false"}, "jars": "a.jar"}
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_SPARK", suite.connection(**properties, environment={"JAVA_HOME": "/java"}))
    return suite


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Say which run has the turn."""

    def give(holder: Any) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_RECSAE_TURN", json.dumps(holder))

    return give
