"""Interactions of many nights: the bytes that stay after the upkeep, and the time to write a night."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import Scope
from recsae_lib.config.warehouse import MaintenanceSettings
from recsae_lib.platform.spark.session import open_session
from recsae_lib.platform.warehouse.maintenance import Retention, maintain_table
from recsae_lib.platform.warehouse.nights import Nights
from recsae_lib.platform.warehouse.raw_retention import drop_raw_nights
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import INTERACTIONS
from tests.benchmarks.harness import Figure, interleaved_seconds, medians
from tests.publishing import publish

FIRST, NIGHTS, EVERY = date(2026, 1, 1), 35, 5
ROWS, USERS = 200_000, 20_000  # of the first night
ACTIVE = 10  # one user of so many has new rows
TIMED = {"MovieLens-100K's size": (100_000, 943), "3 million rows": (3_000_000, 100_000)}
REPETITIONS = 3
DEFAULTS = MaintenanceSettings()
CONDITIONS = (
    f"bytes: {NIGHTS} nights of {ROWS:,} rows of {USERS:,} users at first, with so many more each night by 10 % of the "
    f"users; published, and maintained each {EVERY}th night, keep_raw_nights={DEFAULTS.keep_raw_nights}, snapshots "
    "that nothing holds expire at once; data folder against the files of the newest night. Seconds: Warehouse.replace "
    "on a branch that holds the night before, against overwriting all rows there; medians of "
    f"{REPETITIONS}; rows in memory; local[2], warm"
)


def measure(work: Path) -> list[Figure]:
    overrides = {"spark.sql.catalog.recsae.warehouse": str((work / "warehouse").absolute())}
    spark = open_session("bench", Path("conf/spark/local.conf"), overrides)
    figures = [_bytes_kept(spark, f"more_{share}", share) for share in (0, 1, 10)]
    for name, (rows, users) in TIMED.items():
        figures += _seconds(spark, name, rows, users)
    spark.stop()
    return figures


def interactions(spark: SparkSession, first: int, last: int, users: int, night: int = 0) -> DataFrame:
    """Rows `first` to `last` by `users` drawn users, in the order of their times."""
    row = F.col("id")
    user = F.pmod(F.xxhash64(row, F.lit(night)), F.lit(users)) * (ACTIVE if night else 1) + night % ACTIVE
    item, weight = F.pmod(F.xxhash64(row, F.lit(-1)), F.lit(5_000)), F.pmod(F.xxhash64(row, F.lit(-2)), F.lit(5)) + 1
    return spark.range(first, last).select(
        user.cast("string").alias("user_id"),
        item.cast("string").alias("item_id"),
        weight.cast("double").alias("weight"),
        F.timestamp_seconds(F.lit(1_600_000_000) + row * 30).alias("ts"),
        row.alias("source_order"),
    )


def _bytes_kept(spark: SparkSession, namespace: str, share: int) -> Figure:
    rows, added = interactions(spark, 0, ROWS, USERS), ROWS * share // 100
    for number in range(NIGHTS):
        warehouse = _warehouse(spark, namespace, number)
        if number and added:
            last = ROWS + added * number
            rows = rows.unionByName(interactions(spark, last - added, last, USERS // ACTIVE, number))
        warehouse.replace(INTERACTIONS, rows)
        publish(warehouse)
        warehouse.drop_branch(INTERACTIONS)
        if (number + 1) % EVERY == 0:
            retention = Retention.until(warehouse.dt, warehouse.dt, DEFAULTS.keep_nights, 0)
            with Nights(lambda _: nullcontext()) as nights:
                drop_raw_nights(warehouse, warehouse.dt, DEFAULTS.keep_raw_nights, nights)
                maintain_table(warehouse, INTERACTIONS, retention, nights)
    location = Path(warehouse.iceberg(INTERACTIONS).location().removeprefix("file:"))
    kept = sum(file.stat().st_size for file in (location / "data").rglob("*.parquet"))
    summary = warehouse.iceberg(INTERACTIONS).currentSnapshot().summary()
    name = f"{share} % more rows a night: bytes kept ({summary['total-data-files']} files)"
    one_copy = int(summary["total-files-size"])
    return Figure(name, kept / 2**20, "MiB", "the newest night alone", kept / one_copy)


def _seconds(spark: SparkSession, name: str, count: int, users: int) -> list[Figure]:
    rows = interactions(spark, 0, count, users).persist()
    one, ten = (rows.unionByName(interactions(spark, count, count + count // n, users // ACTIVE, 1)) for n in (100, 10))
    gone = rows.where(~F.col("user_id").isin([str(user) for user in range(10)]))
    nights = {"no news": rows, "1 % more": one, "10 % more": ten, "10 users gone": gone}
    for frame in (rows, one.persist(), ten.persist(), gone.persist()):
        frame.count()
    namespace, numbers = f"timed_{count}", iter(range(10_000))

    def timed(write: Callable[[Warehouse, DataFrame], object], frame: DataFrame) -> None:
        write(_warehouse(spark, namespace, 1 + next(numbers)), frame)

    first = _warehouse(spark, namespace, 0)
    first.replace(INTERACTIONS, rows)
    publish(first)
    actions: dict[str, Callable[[], object]] = {what: partial(timed, _replace, frame) for what, frame in nights.items()}
    actions["overwrite"] = partial(timed, _overwrite, rows)
    seconds = medians(interleaved_seconds(actions, REPETITIONS))
    for frame in nights.values():
        frame.unpersist()
    peer = "overwriting all"
    return [
        Figure(f"{name}: {what}", seconds[what], "s", peer, seconds[what] / seconds["overwrite"]) for what in nights
    ] + [Figure(f"{name}: {peer}", seconds["overwrite"], "s")]


def _replace(warehouse: Warehouse, rows: DataFrame) -> None:
    warehouse.replace(INTERACTIONS, rows)


def _overwrite(warehouse: Warehouse, rows: DataFrame) -> None:
    warehouse._ensure_branch(INTERACTIONS)
    # As every table without dt was written: rows as they come.
    target = f"{warehouse.full_name(INTERACTIONS)}.`branch_{warehouse.branch}`"
    rows.writeTo(target).option("distribution-mode", "none").option("check-nullability", "false").overwrite(F.lit(True))


def _warehouse(spark: SparkSession, namespace: str, number: int) -> Warehouse:
    scopes: dict[Scope, str] = {"data": namespace, "model": namespace, "audit": namespace}
    return Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))
