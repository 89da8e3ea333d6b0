"""From raw data of any format to the tables interactions, items and rejects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.filters import filter_interactions
from recsae_lib.datasets.formats.amazon import read_amazon_2014, read_amazon_2018, read_amazon_2023
from recsae_lib.datasets.formats.lastfm import read_lastfm_2k
from recsae_lib.datasets.formats.movielens import (
    read_movielens_1m,
    read_movielens_10m,
    read_movielens_100k,
    read_movielens_csv,
)
from recsae_lib.datasets.formats.own_tables import read_own_tables
from recsae_lib.datasets.formats.recbole import read_recbole
from recsae_lib.datasets.formats.yelp import read_yelp
from recsae_lib.datasets.parsing.item_texts import has_entities, unescape_items
from recsae_lib.datasets.public.embedded import fetch_movielens_100k
from recsae_lib.datasets.validation import Validated
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.concurrency import side_by_side

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
    """Read the raw data once and validate every row: it is accepted, or rejected with file, line and reason.

    Of the accepted interactions those are kept that pass the filters. An item of one of them that is not in the
    catalogue is added to it without title, text and features. HTML entities in items are unescaped. Logged are the
    counts of each, of interactions of a user with an item again (they are kept), and of items without text and
    features.

    Parameters
    ----------
    cache : local folder of what is fetched once (the embedded data set).

    Raises
    ------
    InputError : a file, table or column is missing, a file cannot be read, or its header differs.
    """
    interactions, items = _read(spark, settings, cache)
    side_by_side(Validated.refuse_missing_headers, [interactions, items])  # reads and validates all rows of both
    kept = interactions.accepted
    count, returning = interactions.count_accepted()
    log.info("%s interactions accepted, %s of them of a user with an item again", f"{count:,}", f"{returning:,}")
    if count:
        kept, _ = filter_interactions(kept, settings.filters, count)
    catalogue, unlisted = _catalogue(items.accepted, kept, only_used=settings.filters.core > 1)
    _log_items(catalogue)
    return Dataset(
        kept,
        unescape_items(catalogue),
        interactions.rejected.unionByName(items.rejected),
        (*interactions.persisted, *items.persisted, unlisted, kept),
    )


def require_interactions(dataset: Dataset) -> None:
    """Raise InputError where no interaction is accepted, with the commonest reason and a row that shows it."""
    if dataset.interactions.isEmpty():
        raise InputError(
            f"The raw data holds no valid interaction{_commonest_reject(dataset.rejects, 'interactions')}",
            "Check dataset.format, and dataset.columns for your own tables",
        )


def require_described_items(dataset: Dataset) -> None:
    """Raise InputError where no item has any text or feature: there would be nothing to name a concept by."""
    if dataset.items.where((F.trim("text") != "") | (F.size("features") > 0)).isEmpty():
        raise InputError(
            "No item has any text or feature, so that no concept could be named"
            + _commonest_reject(dataset.rejects, "items"),
            "Give the item table a title, a text or features (dataset.columns for your own tables)",
        )


def _commonest_reject(rejects: DataFrame, source: str) -> str:
    """What most rows of a source were refused for, with one of them; empty where none was."""
    example = F.min(F.struct("file", "line", "record"))
    of_reasons = (
        rejects.where(F.col("source") == source).groupBy("reason").agg(F.count(F.lit(1)).alias("rows"), example)
    )
    commonest = of_reasons.orderBy(F.desc("rows"), "reason").first()
    if commonest is None:
        return ""
    reason, rows, (file, line, record) = commonest
    place = f"line {line} of {file}" if line else file
    return f": of {rows:,} rows {reason}, such as {place}: {record[:200]!r} (all of them are in the table rejects)"


def _catalogue(listed: DataFrame, interactions: DataFrame, only_used: bool) -> tuple[DataFrame, DataFrame]:
    """Listed items, or only those of interactions, and those of interactions not listed; the latter persisted.

    The whole catalogue stays, as items without any interaction can be recommended and count in catalogue coverage,
    unless a core was asked for: its promise is about every item.
    """
    used = interactions.select("item_id").distinct()
    unlisted = used.join(listed, "item_id", how="left_anti").persist(StorageLevel.DISK_ONLY)
    if number := unlisted.count():
        log.warning("%s items of interactions are not in the catalogue: added without text and features", f"{number:,}")
    if only_used:
        listed = listed.join(used, "item_id", how="left_semi")
    bare = unlisted.select(
        "item_id", F.lit("").alias("title"), F.lit("").alias("text"), F.array().cast("array<string>").alias("features")
    )
    return listed.unionByName(bare), unlisted


def _log_items(catalogue: DataFrame) -> None:
    described = (F.trim("text") != "") | (F.size("features") > 0)
    counts = catalogue.agg(
        F.count(F.lit(1)).alias("items"), F.count_if(~described).alias("bare"), F.count_if(has_entities()).alias("html")
    ).first()
    log.info(
        "%s items, %s without text and features, %s with HTML entities, which are unescaped",
        *[f"{value:,}" for value in counts or ()],
    )


def _read(spark: SparkSession, settings: DatasetSettings, cache: Path) -> tuple[Validated, Validated]:
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
        case "movielens_10m":
            return read_movielens_10m(spark, path)
        case "lastfm_2k":
            return read_lastfm_2k(spark, path)
        case "amazon_2014":
            return read_amazon_2014(spark, path)
        case "amazon_2018":
            return read_amazon_2018(spark, path)
        case "amazon_2023":
            return read_amazon_2023(spark, path)
        case "yelp":
            return read_yelp(spark, path)
        case "recbole":
            return read_recbole(spark, path)
        case _:
            return read_own_tables(spark, settings)
