"""What several tests share: one real local Spark session with Iceberg, on a warehouse of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession
from xdist.scheduler import LoadScopeScheduling

from recsae_lib.platform.spark.session import open_session
from tests.catalogs import JDBC_DRIVERS
from tests.chat_server import LoopbackServer
from tests.isolation import isolation
from tests.workspace import REPOSITORY, tiny_spark

AUDITED = "audited"
# Of tests/audit; the others look at the one audit of `audited`.
OWN_AUDITS = ("test_drift.py", "test_own_models.py", "test_study.py")

# Files that take half a minute and more, the longest first. A process is given its next files while it is at the last
# tests of one: what begins late must be short, or a process waits behind it while the other one has nothing to do.
LONGEST = (
    AUDITED,
    "tests/airflow/",
    "tests/audit/test_study.py",
    "tests/audit/test_drift.py",
    "tests/packaging/test_installed.py",
    "tests/platform/warehouse/test_publication_model.py",
    "tests/platform/warehouse/test_maintain_job.py",
    "tests/datasets/test_cases.py",
    "tests/platform/warehouse/test_publishing.py",
    "tests/verification/test_both_judges.py",
    "tests/platform/spark/test_sql_login.py",
    "tests/platform/llm/test_transport_faults.py",
    "tests/upgrade/test_tables.py",
    "tests/sae/training/test_ranks.py",
    "tests/platform/warehouse/test_catalogs.py",
    "tests/verification/test_units.py",
    "tests/interpretation/test_llm_interpreter.py",
    "tests/verification/test_judging.py",
    "tests/audit/test_own_models.py",
)


def unit_of(nodeid: str) -> str:
    """What is given to a process of `pytest -n` as a whole: a file, or all files that share one audit."""
    file = nodeid.partition("::")[0]
    return AUDITED if file.startswith("tests/audit/") and not file.endswith(OWN_AUDITS) else file


class ByFile(LoadScopeScheduling):
    """Gives each process of `pytest -n` such units."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def place_of(item: pytest.Item) -> int:
    """Place of the unit of a test in `LONGEST`; all that are not there have the last one."""
    unit = unit_of(item.nodeid)
    return next((place for place, name in enumerate(LONGEST) if unit.startswith(name)), len(LONGEST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what takes longest begin first, so that no process is left alone with it; the rest is random."""
    items.sort(key=place_of)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Have xdist use it."""
    return ByFile(config, log)


def pytest_sessionstart() -> None:
    """Take the width of a terminal away that xdist's workers are given: they have none."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolation():
        yield


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = open_session(
        "tests",
        REPOSITORY / "conf" / "spark" / "local.conf",
        {
            "spark.sql.catalog.recsae.warehouse": str(warehouse),
            "spark.sql.warehouse.dir": str(warehouse / "default"),
            **tiny_spark(*JDBC_DRIVERS),
        },
    )
    yield session
    session.stop()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    loopback = LoopbackServer()
    yield loopback
    loopback.close()
