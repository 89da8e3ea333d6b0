"""Small rows that go from the driver into Spark, and rows that Spark keeps while a job goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

MOST_PARTS = 1 << 30  # a number that Java takes
PART_BYTES = 16 << 20  # of rows on disk that one task reads, as Spark estimates them


def local_frame(spark: SparkSession, rows: Iterable[tuple[Any, ...]], schema: str) -> DataFrame:
    """Make a DataFrame of rows that the driver holds: they travel as part of the plan.

    ``spark.createDataFrame`` of a list asks Python workers for the rows, in several tasks each time they are read. That
    matters for the hundreds of small queries of an audit; rows that travel with a plan must be few.
    Delete this when createDataFrame of a list needs no Python worker.
    """
    declared = spark.createDataFrame([], schema).schema
    return spark.createDataFrame(pd.DataFrame(list(rows), columns=declared.names, dtype=object), declared)


def keep(rows: DataFrame) -> DataFrame:
    """Compute rows now, and keep them on the executors until `free`.

    Unlike ``persist`` this lets adaptive execution choose the number of partitions, so that small rows are computed and
    read by few tasks (``persist`` keeps the 32 that shuffles begin with, most of them empty), and it cuts the plan off,
    which every plan that reads the rows would otherwise carry along. It matters for small rows that are read often. An
    executor that is lost fails the job, which can be run again. Delete this when ``persist`` coalesces partitions.
    """
    return rows.localCheckpoint()


def keep_on_disk(rows: DataFrame) -> DataFrame:
    """Let rows stay on disk from when they are first computed, until ``unpersist``; a lost part is computed again.

    ``persist`` leaves as many parts as shuffles begin with, whose tasks take longer than the work where rows are few:
    here are as many parts as Spark's estimate of the bytes asks for, and at least ``spark.default.parallelism``. Write
    ``persist`` again when it coalesces them.
    """
    expected = int(rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())
    fewest = rows.sparkSession.sparkContext.defaultParallelism
    parts = min(max(fewest, expected // PART_BYTES), MOST_PARTS)
    return rows.coalesce(parts).persist(StorageLevel.DISK_ONLY)


def free(kept: DataFrame) -> None:
    """Let the executors forget rows that `keep` returned."""
    # PySpark has no word for it, and the garbage collector may come to it when the disk is full.
    kept._jdf.queryExecution().analyzed().rdd().unpersist(False)
