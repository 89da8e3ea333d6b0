"""Two hundred nights of one table, maintained and not: files, metadata and the time to plan a query."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from recsae_lib.config import Scope
from recsae_lib.platform.spark.session import open_session
from recsae_lib.platform.warehouse.maintenance import Retention, maintain_table, state_of
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS
from tests.benchmarks.harness import Figure, interleaved_seconds, medians
from tests.publishing import publish

NIGHTS, FIRST, KEEP_NIGHTS, EVERY = 200, date(2026, 1, 1), 30, 5
SCHEMA = "sae_version int, unit_kind string, metric string, value double"
REPETITIONS = 9
CONDITIONS = (
    f"{NIGHTS} nights of one row each, written to a branch, published and tagged, into two tables; one is maintained "
    f"every {EVERY} nights (keep_nights={KEEP_NIGHTS}, keep_snapshot_days=0), the other never; local[2], warm; "
    "query: the number of rows of one night"
)


def measure(work: Path) -> list[Figure]:
    overrides = {"spark.sql.catalog.recsae.warehouse": str((work / "warehouse").absolute())}
    spark = open_session("bench", Path("conf/spark/local.conf"), overrides)
    figures = []
    for number in range(NIGHTS):
        dt = FIRST + timedelta(days=number)
        tables = {name: _warehouse(spark, name, dt) for name in ("maintained", "left_alone")}
        for warehouse in tables.values():
            warehouse.replace(AUDIT_METRICS, spark.createDataFrame([(1, "sae", "fvu", float(number))], SCHEMA))
            publish(warehouse)
        if (number + 1) % EVERY == 0:
            maintain_table(tables["maintained"], AUDIT_METRICS, Retention.until(dt, KEEP_NIGHTS, 0))
        if number + 1 in (NIGHTS // 4, NIGHTS // 2, NIGHTS):
            figures += _figures(number + 1, tables)
    spark.stop()
    return figures


def _warehouse(spark: SparkSession, name: str, dt: date) -> Warehouse:
    scopes: dict[Scope, str] = {"data": name, "model": name, "audit": name}
    return Warehouse(spark, "recsae", scopes, dt)


def _count(warehouse: Warehouse) -> int:
    return warehouse.read_published(AUDIT_METRICS).count()


def _figures(nights: int, tables: dict[str, Warehouse]) -> list[Figure]:
    seconds = medians(interleaved_seconds({name: partial(_count, of) for name, of in tables.items()}, REPETITIONS))
    kept, left = (state_of(tables[name], AUDIT_METRICS) for name in ("maintained", "left_alone"))
    metadata = {name: _metadata_bytes(of) for name, of in tables.items()}
    plain = "without maintenance"
    return [
        Figure(f"night {nights}: data files", kept.files, "files", plain, kept.files / left.files),
        Figure(f"night {nights}: manifests", kept.manifests, "files", plain, kept.manifests / left.manifests),
        Figure(f"night {nights}: snapshots", kept.snapshots, "snapshots", plain, kept.snapshots / left.snapshots),
        Figure(
            f"night {nights}: newest metadata",
            metadata["maintained"] / 2**10,
            "KiB",
            plain,
            metadata["maintained"] / metadata["left_alone"],
        ),
        Figure(
            f"night {nights}: query of one night",
            seconds["maintained"],
            "s",
            plain,
            seconds["maintained"] / seconds["left_alone"],
        ),
    ]


def _metadata_bytes(warehouse: Warehouse) -> int:
    location = warehouse.spark.conf.get("spark.sql.catalog.recsae.warehouse") or ""
    folder = Path(location) / warehouse.namespaces["audit"] / AUDIT_METRICS.name / "metadata"
    newest = (folder / "version-hint.text").read_text().strip()
    return (folder / f"v{newest}.metadata.json").stat().st_size
