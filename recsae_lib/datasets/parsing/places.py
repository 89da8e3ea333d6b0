"""Where a raw row stands: its file, and its line where Spark reads a text file in splits, without a pass for it.

Spark cuts a large file into splits and packs small files together, so no task knows how many lines come before its
own. Each row keeps three numbers of the task that read it, and its line is counted later, from the validated rows::

    line = Σ lines of the earlier splits of the file + (position − smallest position in its split) + 1

For that, every line must still be there: blank ones and headers are marked, not left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from recsae_lib.platform.spark.frames import local_frame

PLACE = ("file", "block", "position")


@dataclass(frozen=True)
class PlacedRows:
    """Rows with their place.

    Parameters
    ----------
    rows : the selected columns, beside file INT (index into `files`), block LONG (where the split begins in the file)
        and position LONG (rising within the split).
    files : base names of the files, in the order of their paths.
    """

    rows: DataFrame
    files: tuple[str, ...]


def place_rows(source: DataFrame, columns: list[Column]) -> PlacedRows:
    """Select `columns` of rows that Spark reads from files, each with its place.

    The list of files passes through the driver, which holds it anyway; it is joined by broadcast: the rows stay in
    their tasks.
    """
    paths = sorted(source.inputFiles())
    rows = source.select(
        *columns,
        F.col("_metadata.file_path").alias("path"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("position"),
    )
    return PlacedRows(
        rows.join(F.broadcast(file_numbers(source.sparkSession, paths, {})), "path", how="left").drop("path"),
        tuple(name_of_file(path) for path in paths),
    )


def file_numbers(spark: SparkSession, paths: Sequence[str], values: Mapping[str, Sequence[str | None]]) -> DataFrame:
    """Number files in the order of their paths: (path as rows have it, file INT, and a STRING for each of `values`)."""
    # Spark writes a local path as file:///… in its lists and as file:/… in a row.
    spellings = {spelling: n for n, path in enumerate(paths) for spelling in (path, re.sub("^file:/+", "file:/", path))}
    rows = [(spelling, n, *[of_files[n] for of_files in values.values()]) for spelling, n in spellings.items()]
    return local_frame(spark, rows, ", ".join(["path STRING, file INT", *[f"{name} STRING" for name in values]]))


def name_of_file(path: str) -> str:
    """Base name of a file whose path is written as an address."""
    return unquote(path.rsplit("/", 1)[-1])


def splits_of(every: DataFrame) -> DataFrame:
    """Aggregate all rows of a source to its splits: (file, block, first LONG, lines LONG, opening STRING).

    `first` is the smallest position; `opening` is why the row there was skipped, null where it was not.
    """
    return every.groupBy("file", "block").agg(
        F.min("position").alias("first"),
        F.count(F.lit(1)).alias("lines"),
        F.min_by("skipped", "position").alias("opening"),
    )


def with_lines(some: DataFrame, every: DataFrame) -> DataFrame:
    """Add line LONG, from 1, to rows of a text source.

    Parameters
    ----------
    some : rows with their place.
    every : all lines of the source with their place; persisted, so that both come from the same splits.
    """
    earlier = Window.partitionBy("file").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
    lines_before = F.coalesce(F.sum("lines").over(earlier), F.lit(0))
    shifts = splits_of(every).select("file", "block", (lines_before - F.col("first") + 1).alias("shift"))
    # One row a split, however many lines there are: a broadcast.
    placed = some.join(F.broadcast(shifts), ["file", "block"], how="left")
    return placed.withColumn("line", F.col("shift") + F.col("position"))
