"""From raw data of any format to the tables interactions, items and rejects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.embedded import fetch_movielens_100k
from recsae_lib.datasets.judging import Judged
from recsae_lib.datasets.movielens import read_movielens_1m, read_movielens_100k, read_movielens_csv
from recsae_lib.datasets.own_tables import read_own_tables
from recsae_lib.datasets.recbole import read_recbole
from recsae_lib.errors import InputError

log = logging.getLogger("recsae")


@dataclass(frozen=True)
class Dataset:
    """The tables of one data set, without dt; on disk until `release`.

    Parameters
    ----------
    interactions : (user_id, item_id, weight DOUBLE, ts TIMESTAMP, source_order LONG).
    items : (item_id, title, text, features ARRAY<STRING>); every item of `interactions` is there.
    rejects : (source, file, line LONG, reason, record).
    persisted : what the three are computed from.
    """

    interactions: DataFrame
    items: DataFrame
    rejects: DataFrame
    persisted: tuple[DataFrame, ...]

    def release(self) -> None:
        """Free the disk that the rows take; the tables cannot be read afterwards."""
        for rows in self.persisted:
            rows.unpersist()


def read_dataset(spark: SparkSession, settings: DatasetSettings, cache: Path) -> Dataset:
    """Read the raw data once and judge every row: it is accepted, or rejected with file, line and reason.

    An item of an interaction that is not in the catalogue is added to it without title, text and features; how many
    there are is logged.

    Parameters
    ----------
    cache : local folder of what is fetched once (the embedded data set).

    Raises
    ------
    InputError : a file, table or column is missing, a file cannot be read, or its header differs.
    """
    interactions, items = _read(spark, settings, cache)
    interactions.refuse_missing_headers()
    items.refuse_missing_headers()
    listed = items.accepted.select("item_id")
    unlisted = interactions.accepted.select("item_id").distinct().join(listed, "item_id", how="left_anti")
    unlisted = unlisted.persist(StorageLevel.DISK_ONLY)
    if count := unlisted.count():
        log.warning("%s items of interactions are not in the catalogue: added without text and features", f"{count:,}")
    bare = unlisted.select(
        "item_id", F.lit("").alias("title"), F.lit("").alias("text"), F.array().cast("array<string>").alias("features")
    )
    return Dataset(
        interactions.accepted,
        items.accepted.unionByName(bare),
        interactions.rejected.unionByName(items.rejected),
        (interactions.rows, items.rows, unlisted),
    )


def require_described_items(items: DataFrame) -> None:
    """Raise InputError where no item has any text or feature: there would be nothing to name a concept by."""
    if items.where((F.trim("text") != "") | (F.size("features") > 0)).isEmpty():
        raise InputError(
            "No item has any text or feature, so that no concept could be named",
            "Give the item table a title, a text or features (dataset.columns for your own tables)",
        )


def _read(spark: SparkSession, settings: DatasetSettings, cache: Path) -> tuple[Judged, Judged]:
    path = (settings.path or "").rstrip("/") or "/"
    match settings.format:
        case "movielens_100k_embedded":
            return read_recbole(spark, f"file://{fetch_movielens_100k(cache).resolve()}")
        case "movielens_100k":
            return read_movielens_100k(spark, path)
        case "movielens_1m":
            return read_movielens_1m(spark, path)
        case "movielens_csv":
            return read_movielens_csv(spark, path)
        case "recbole":
            return read_recbole(spark, path)
        case _:
            return read_own_tables(spark, settings)
