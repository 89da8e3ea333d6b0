"""The tables read without Spark, as the README shows."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import StaticTable
from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS


@pytest.fixture
def metrics(spark: SparkSession) -> StaticTable:
    """A published table with a night that is not published yet."""
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "readers")
    for dt, value in ((date(2026, 11, 20), 0.25), (date(2026, 11, 21), 0.5)):
        warehouse = Warehouse(spark, "recsae", scopes, dt)
        rows = [(1, "sae", metric, value) for metric in ("fvu", "l0")]
        schema = "sae_version int, unit_kind string, metric string, value double"
        warehouse.replace(AUDIT_METRICS, spark.createDataFrame(rows, schema))
        if dt.day == 20:
            warehouse.publish(AUDIT_METRICS)
    folder = Path(spark.conf.get("spark.sql.catalog.recsae.warehouse") or "") / "readers" / "audit_metrics" / "metadata"
    version = (folder / "version-hint.text").read_text().strip()
    return StaticTable.from_metadata(str(folder / f"v{version}.metadata.json"))


def test_pyiceberg_reads_what_is_published(metrics: StaticTable) -> None:
    rows = metrics.scan(row_filter="metric = 'fvu'", selected_fields=("dt", "value")).to_arrow().to_pylist()
    assert rows == [{"dt": date(2026, 11, 20), "value": 0.25}]


def test_duckdb_queries_it(metrics: StaticTable) -> None:
    connection = metrics.scan().to_duckdb("audit_metrics")
    query = "SELECT metric, sum(value) FROM audit_metrics GROUP BY metric ORDER BY metric"
    assert connection.sql(query).fetchall() == [("fvu", 0.25), ("l0", 0.25)]
