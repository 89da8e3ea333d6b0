"""Which of the accepted interactions an audit looks at: by weight, by time, by density; in this order.

The core comes last, so that what it promises holds of the rows that are left. What a filter leaves out is no reject: it
is counted in the log.
"""

from __future__ import annotations

import logging

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.config import FilterSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.frames import free, keep

log = logging.getLogger("recsae")


def filter_interactions(interactions: DataFrame, filters: FilterSettings, count: int) -> tuple[DataFrame, int]:
    """Apply the filters that are set; the rows are on disk where one of them shuffles, until `unpersist`.

    Parameters
    ----------
    interactions : (user_id, item_id, weight, ts, source_order, …), on disk.
    count : rows of `interactions`.

    Returns
    -------
    The rows that are left, and how many.

    Raises
    ------
    InputError : a filter leaves nothing.
    """
    rows = interactions
    if filters.minimum_weight is not None:
        rows = rows.where(F.col("weight") >= filters.minimum_weight)
        count = _counted("minimum_weight", filters.minimum_weight, count, rows.count())
    if filters.latest is not None:
        rows = latest_interactions(rows, filters.latest).persist(StorageLevel.DISK_ONLY)
        count = _counted("latest", filters.latest, count, rows.count())
    if filters.core > 1:
        dense = interactions_of_core(rows, filters.core)
        count = _counted("core", filters.core, count, dense.count())
        if filters.latest is not None:
            rows.unpersist()
        rows = dense
    return rows, count


def latest_interactions(interactions: DataFrame, number: int) -> DataFrame:
    """Keep the latest interactions of each user, by (ts, source_order, item_id); one shuffle, by user."""
    latest_first = [F.col(name).desc() for name in ("ts", "source_order", "item_id")]
    ranked = interactions.withColumn("rank", F.row_number().over(Window.partitionBy("user_id").orderBy(*latest_first)))
    return ranked.where(F.col("rank") <= number).drop("rank")


def interactions_of_core(interactions: DataFrame, core: int) -> DataFrame:
    """Keep the core: the largest set of rows where every user has at least k different items, every item k users.

    ::

        R₀ = R      Rₙ₊₁ = {(u, i) ∈ Rₙ : |items of u in Rₙ| ≥ k and |users of i in Rₙ| ≥ k}      until Rₙ₊₁ = Rₙ

    One shuffle of the rows by pair marks the first row of each. Then each round counts users and items (shuffles of
    counts that are summed up before) and leaves out the rare ones: they are broadcast where they are few, which they
    are after the first rounds, else the rows are shuffled by user and by item. Each round is kept by the executors
    and its plan cut off (localCheckpoint), as the plan of a round names the one before three times; the one before is
    freed. A lost executor fails the job, rather than changing the answer. The result is persisted on disk.

    Parameters
    ----------
    core : k.
    """
    columns = interactions.columns
    of_pair = Window.partitionBy("user_id", "item_id").orderBy("ts", "source_order")
    rows = keep(interactions.withColumn("first", F.row_number().over(of_pair) == 1))
    before = rows.count()
    while True:
        dense = keep(_without_rare(_without_rare(rows, "user_id", rows, core), "item_id", rows, core))
        after = dense.count()
        if after == before:
            core_rows = rows.select(*columns).persist(StorageLevel.DISK_ONLY)
            core_rows.count()
            free(dense)
            free(rows)
            return core_rows
        free(rows)
        rows, before = dense, after


def _without_rare(some: DataFrame, name: str, every: DataFrame, core: int) -> DataFrame:
    partners = F.count_if("first")
    rare = every.groupBy(name).agg(partners.alias("partners")).where(F.col("partners") < core).select(name)
    return some.join(rare, name, how="left_anti")


def _counted(name: str, value: float, before: int, after: int) -> int:
    if after == 0:
        raise InputError(
            f"The filter dataset.filters.{name} = {value:g} leaves none of {before:,} interactions",
            "Lower it, or set another filter to less",
        )
    log.info("filter %s = %g: %s → %s interactions", name, value, f"{before:,}", f"{after:,}")
    return after
