"""What several tests share: one real local Spark session with Iceberg, on a warehouse of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.spark_session import open_session

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = open_session(
        "tests",
        REPOSITORY / "conf" / "spark" / "local.conf",
        {
            "spark.sql.catalog.recsae.warehouse": str(warehouse),
            "spark.sql.warehouse.dir": str(warehouse / "default"),
            "spark.driver.memory": "1g",
            "spark.sql.shuffle.partitions": "2",
            # Tests are made of tiny queries: a list of rows is one task, and what is run once is not worth optimising.
            "spark.default.parallelism": "1",
            "spark.sql.adaptive.coalescePartitions.initialPartitionNum": "2",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="
            f"{REPOSITORY / 'conf' / 'spark' / 'log4j2.properties'}",
        },
    )
    yield session
    session.stop()
