"""What several tests share: one real local Spark session with Iceberg, on a warehouse of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from recsae_lib.spark_session import open_session
from tests.catalogs import JDBC_DRIVERS
from tests.workspace import REPOSITORY, TINY_QUERIES


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all tests of the one shared audit, in the same process (`pytest -n`)."""
    for item in items:
        shared = "audited" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("audited" if shared else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = open_session(
        "tests",
        REPOSITORY / "conf" / "spark" / "local.conf",
        {
            "spark.sql.catalog.recsae.warehouse": str(warehouse),
            "spark.sql.warehouse.dir": str(warehouse / "default"),
            "spark.driver.extraClassPath": ":".join(str(driver) for driver in JDBC_DRIVERS if driver.is_file()),
            **TINY_QUERIES,
        },
    )
    yield session
    session.stop()
