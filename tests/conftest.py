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

# Of tests/audit; the others look at the one audit of `audited`.
OWN_AUDITS = ("test_drift.py", "test_own_models.py", "test_study.py")


LONGEST = (
    *("tests/airflow/", "tests/audit/", "tests/packaging/"),
    *(f"tests/platform/warehouse/test_{name}.py" for name in ("publication_model", "publishing", "maintain_job")),
)


class ByFile(LoadScopeScheduling):
    """Gives each process of `pytest -n` whole files, and one of them all files that share one audit."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "audited" if file.startswith("tests/audit/") and not file.endswith(OWN_AUDITS) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the files that take longest begin first, so that no process is left alone with one; the rest is random."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


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
