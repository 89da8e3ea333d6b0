"""An audit's way through the warehouse on each kind of catalog that can be had here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse.maintenance import Retention
from recsae_lib.platform.warehouse.pyiceberg_rows import open_rows
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS
from tests.catalogs import POSTGRES_DRIVER, SQLITE_DRIVER, declare, find_postgres, postgres_server
from tests.publishing import maintain, publish
from tests.rest_catalog import rest_catalog

DT = date(2026, 11, 20)
SCHEMA = "sae_version int, unit_kind string, metric string, value double"


@pytest.fixture(scope="module", params=["hadoop", "rest", "jdbc on SQLite", "jdbc on PostgreSQL"])
def catalog(
    spark: SparkSession, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    kind = request.param
    folder = tmp_path_factory.mktemp("catalog")
    common = {"warehouse": str(folder / "warehouse"), "cache_enabled": "false"}
    if kind == "hadoop":
        yield declare(spark, "on_folder", type="hadoop", **common)
    elif kind == "rest":
        with rest_catalog(spark, folder / "warehouse") as uri:
            yield declare(spark, "on_rest", type="rest", uri=uri, **common)
    elif kind == "jdbc on SQLite":
        if not SQLITE_DRIVER.is_file():
            pytest.skip(f"needs {SQLITE_DRIVER}")
        uri = f"jdbc:sqlite:{folder}/catalog.db"
        yield declare(spark, "on_sqlite", type="jdbc", uri=uri, **{**common, "jdbc.schema-version": "V1"})
    else:
        if not POSTGRES_DRIVER.is_file() or find_postgres() is None:
            pytest.skip(f"needs a PostgreSQL server and {POSTGRES_DRIVER}")
        with postgres_server(tmp_path_factory.mktemp("postgres")) as uri:
            yield declare(spark, "on_postgres", type="jdbc", uri=uri, **{**common, "jdbc.schema-version": "V1"})


def batches(values: list[float]) -> Iterator[pa.RecordBatch]:
    names = pa.array([f"m{place}" for place in range(len(values))], pa.string())
    kinds = pa.array(["sae"] * len(values), pa.string())
    yield pa.RecordBatch.from_pydict({"value": pa.array(values, pa.float64()), "metric": names, "unit_kind": kinds})


def test_audits_are_written_published_read_as_of_and_maintained(
    spark: SparkSession, catalog: str, tmp_path: Path
) -> None:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "shop")
    versions = SimpleNamespace(model_version=1, sae_version=1)
    nights = [Warehouse(spark, catalog, scopes, DT + timedelta(days=number), versions) for number in range(3)]
    for number, night in enumerate(nights[:2]):
        night.replace(AUDIT_METRICS, spark.createDataFrame([(1, "sae", "fvu", number / 4)], SCHEMA))
    nights[2].replace_by_files(AUDIT_METRICS, [[0.5], [0.75]], batches)

    def published() -> list[float]:
        rows = spark.table(nights[0].full_name(AUDIT_METRICS)).collect()
        return sorted(row["value"] for row in rows)

    assert published() == []
    for night in nights:
        publish(night)
    assert published() == [0.0, 0.25, 0.5, 0.75]
    then = spark.read.option("tag", f"published-shop-{nights[1].dt}-2").table(nights[0].full_name(AUDIT_METRICS))
    assert sorted(row["value"] for row in then.collect()) == [0.0, 0.25]
    nights[2].replace(AUDIT_METRICS, spark.createDataFrame([(1, "sae", "fvu", 9.0)], SCHEMA))
    assert published() == [0.0, 0.25, 0.5, 0.75]
    for _ in range(2):
        maintain(nights[2], AUDIT_METRICS, Retention(nights[1].dt, datetime.now(timezone.utc)))
        assert published() == [0.25, 0.5, 0.75]
    publish(nights[2])
    rows = run_query(nights[1], "SELECT value FROM audit_metrics ORDER BY value").collect()
    assert [row["value"] for row in rows] == [0.25, 9.0]
    declared = {key: spark.conf.get(f"spark.sql.catalog.{catalog}.{key}", None) for key in ("type", "warehouse", "uri")}
    properties = tmp_path / "catalog.conf"
    lines = [f"spark.sql.catalog.{catalog}.{key} {value}\n" for key, value in declared.items() if value]
    properties.write_text("".join(lines), "utf-8")
    plain = open_rows(properties, catalog, {"audit_metrics": "shop"}, "shop", None)
    if catalog == "on_postgres":
        assert plain is None
    else:
        assert plain is not None
        assert plain.read("audit_metrics", ("dt", "value")) == [{"dt": nights[2].dt, "value": 9.0}]


def test_audits_of_several_dates_begin_at_once(spark: SparkSession, catalog: str) -> None:
    dates = [DT + timedelta(days=number) for number in range(4)]
    for attempt in range(3):  # who creates namespace and table is a race
        scopes: Any = dict.fromkeys(("data", "model", "audit"), f"shop{attempt}")
        nights = [Warehouse(spark, catalog, scopes, dt) for dt in dates]
        together = Barrier(len(nights))

        def audit(night: Warehouse, together: Barrier = together) -> None:
            rows = spark.createDataFrame([(1, "sae", "fvu", float(night.dt.day))], SCHEMA)
            together.wait()
            night.replace(AUDIT_METRICS, rows)
            publish(night)

        with ThreadPoolExecutor(len(nights)) as pool:
            list(pool.map(audit, nights))
        read = spark.table(nights[0].full_name(AUDIT_METRICS)).collect()
        assert sorted((row["dt"], row["value"]) for row in read) == [(dt, float(dt.day)) for dt in dates]
