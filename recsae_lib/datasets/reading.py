"""From raw data of any format to the tables interactions, items and rejects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

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
from recsae_lib.datasets.times import read_dates
from recsae_lib.datasets.validation import Validated
from recsae_lib.platform.spark.concurrency import both, side_by_side
from recsae_lib.platform.spark.frames import keep_on_disk
from recsae_lib.platform.spark.unseen import clean_items, hides_something
from recsae_lib.platform.warehouse.data_checks import is_described

log = logging.getLogger("recsae")


@dataclass(frozen=True)
class Dataset:
    """The tables of one data set, without dt; on disk until `release`.

    Parameters
    ----------
    interactions : (user_id, item_id, weight DOUBLE, ts TIMESTAMP, source_order LONG).
    items : (item_id, title, text, features ARRAY<STRING>, released INT, attributes ARRAY<STRUCT<name, value>>), the
        last two as the source has them, or null; every item of `interactions` is there.
    rejects : (source, file, line LONG, reason, record).
    listed : the catalogue as it was given: `items` without what was added to it.
    hiding : number of items whose title, text or features held control characters or invisible ones; `items` is
        without these characters.
    persisted : what the three are computed from.
    """

    interactions: DataFrame
    items: DataFrame
    rejects: DataFrame
    listed: DataFrame
    hiding: int
    persisted: tuple[DataFrame, ...]

    def release(self) -> None:
        """Free the disk that the rows take; the tables cannot be read afterwards."""
        for rows in self.persisted:
            rows.unpersist()


def read_dataset(spark: SparkSession, settings: DatasetSettings, cache: Path) -> Dataset:
    """Read the raw data once and validate every row: it is accepted, or rejected with file, line and reason.

    Of the accepted interactions those are kept that pass the filters. An item of one of them that is not in the
    catalogue is added to it without title, text and features. HTML entities in items are unescaped; then control
    characters and invisible ones are taken out of them (`unseen`). Logged are the counts of each, of interactions of a
    user with an item again (they are kept), and of items without text and features.

    Parameters
    ----------
    cache : local folder of what is fetched once (the embedded data set).

    Raises
    ------
    InputError : a file, table or column is missing, a file cannot be read, or its header differs.
    """
    interactions, items = _read(spark, settings, cache)
    side_by_side(Validated.refuse_missing_headers, [interactions, items])  # reads and validates all rows of both
    kept, (count, returning) = both(lambda: read_dates(interactions.accepted), interactions.count_accepted)
    log.info("%s interactions accepted, %s of them of a user with an item again", f"{count:,}", f"{returning:,}")
    if count:
        kept, _ = filter_interactions(kept, settings.filters, count)
    catalogue, unlisted = _catalogue(items.accepted, kept, only_used=settings.filters.core > 1)
    unescaped = unescape_items(catalogue.withColumn("html", has_entities()))
    hiding = _log_items(unescaped)
    return Dataset(
        kept,
        clean_items(unescaped.drop("html")),
        interactions.rejected.unionByName(items.rejected),
        items.accepted,
        hiding,
        (*interactions.persisted, *items.persisted, unlisted, kept),
    )


def _catalogue(listed: DataFrame, interactions: DataFrame, only_used: bool) -> tuple[DataFrame, DataFrame]:
    """Listed items, or only those of interactions, and those of interactions not listed; the latter persisted.

    The whole catalogue stays, as items without any interaction can be recommended and count in catalogue coverage,
    unless a core was asked for: its promise is about every item.
    """
    used = interactions.select("item_id").distinct()
    unlisted = keep_on_disk(used.join(listed, "item_id", how="left_anti"))
    if number := unlisted.count():
        log.warning("%s items of interactions are not in the catalogue: added without text and features", f"{number:,}")
    if only_used:
        listed = listed.join(used, "item_id", how="left_semi")
    bare = unlisted.select(
        "item_id", F.lit("").alias("title"), F.lit("").alias("text"), F.array().cast("array<string>").alias("features")
    )
    return listed.unionByName(bare, allowMissingColumns=True), unlisted


def _log_items(unescaped: DataFrame) -> int:
    """Log what is known of items (item_id, title, text, features, html); returns how many hide a character."""
    counts = unescaped.agg(
        F.count(F.lit(1)).alias("items"),
        F.count_if(~is_described()).alias("bare"),
        F.count_if("html").alias("html"),
        F.count_if(hides_something()).alias("hiding"),
    ).first()
    assert counts is not None  # an aggregate without groups has one row
    log.info(
        "%s items, %s without text and features, %s with HTML entities, which are unescaped",
        *[f"{counts[name]:,}" for name in ("items", "bare", "html")],
    )
    return int(counts["hiding"])


def _read(spark: SparkSession, settings: DatasetSettings, cache: Path) -> tuple[Validated, Validated]:
    path = (settings.path or "").rstrip("/") or "/"
    match settings.format:
        case "movielens_100k_embedded":
            return read_recbole(spark, f"file://{fetch_movielens_100k(cache).resolve()}", settings.columns)
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
            return read_recbole(spark, path, settings.columns, settings.repeats)
        case _:
            return read_own_tables(spark, settings)
