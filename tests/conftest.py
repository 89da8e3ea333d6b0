"""What several tests share: one real local Spark session with Iceberg, on a warehouse of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from recsae_lib.spark_session import open_session
from tests.workspace import REPOSITORY, TINY_QUERIES


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = open_session(
        "tests",
        REPOSITORY / "conf" / "spark" / "local.conf",
        {
            "spark.sql.catalog.recsae.warehouse": str(warehouse),
            "spark.sql.warehouse.dir": str(warehouse / "default"),
            **TINY_QUERIES,
        },
    )
    yield session
    session.stop()
