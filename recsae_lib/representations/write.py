"""Write representations as Parquet that Petastorm reads: even row groups, and all of the set or nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.representations.layout import COMPLETE_MARKER, RepresentationSet

# Floats neither repeat nor compress: a dictionary would be tried in vain, and would make sizes hard to foresee.
FILE_OPTIONS = {"parquet.enable.dictionary": "false"}
ROWS_OF_A_TASK_IN_A_GROUP = 10
BYTES_OF_A_FLOAT = 4


@dataclass(frozen=True)
class WrittenSet:
    """What was written: rows, bytes of the files, and row groups (one a file)."""

    rows: int
    bytes: int
    row_groups: int

    def line(self) -> str:
        """The figures as people read them."""
        return f"{self.rows:,} rows, {self.bytes / 2**20:.1f} MiB, {self.row_groups} row groups"


def write_representations(
    rows: DataFrame, target: RepresentationSet | str, row_group_mib: float, minimum_row_groups: int
) -> WrittenSet:
    """Replace the set at `target` by `rows`, each row group a random sample of them (`write_sets`).

    Parameters
    ----------
    target : where to write; or a folder for other bulk rows, as path or address.
    """
    folder = target.path if isinstance(target, RepresentationSet) else target
    column = rows.columns[-1]
    return write_sets(rows, {column: folder}, column, row_group_mib, minimum_row_groups)[column]


def write_sets(
    rows: DataFrame, targets: Mapping[str, str], name: str, row_group_mib: float, minimum_row_groups: int
) -> dict[str, WrittenSet]:
    """Replace several sets by what `rows` hold for each, each row group a random sample of the rows.

    The rows are computed once, into a draft beside the first target, from which each set reads its own column. Its
    size decides the number of row groups. The draft is spread over as many files, one row group each: parquet-mr sees
    to the size of a row group only every so many rows and would leave a short one at the end of each file. The finished
    files are moved into place, and a marker is put beside them last, without which `RepresentationSet.require` refuses
    the folder. A writer that was killed leaves a hidden staging folder, which the next one for the same targets
    removes.

    Parameters
    ----------
    rows : columns that all sets have, then a column of vectors for each.
    targets : path or address of each set, by its column of `rows`.
    name : what that column is called in each set.
    row_group_mib : size that no row group exceeds, MiB before compression.
    minimum_row_groups : row groups at least; one a row where there are fewer rows.

    Returns
    -------
    dict : what was written, by column.

    Raises
    ------
    OSError : the files cannot be moved into place.
    """
    spark = rows.sparkSession
    jvm: Any = spark.sparkContext._jvm
    hadoop = jvm.org.apache.hadoop.fs
    first = hadoop.Path(next(iter(targets.values())))
    file_system = first.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    staging = hadoop.Path(first.getParent(), f".staging-{first.getName()}")
    draft = hadoop.Path(staging, "draft")
    file_system.delete(staging, True)

    rows.write.options(**FILE_OPTIONS, compression="uncompressed").parquet(draft.toString())
    drafted = spark.read.schema(rows.schema).parquet(draft.toString())
    count = drafted.count()
    draft_bytes = file_system.getContentSummary(draft).getLength()
    widths = _widths(drafted, list(targets)) if len(targets) > 1 else {}
    group_bytes = row_group_mib * 2**20
    shared = [column for column in rows.columns if column not in targets]
    written = {}
    for number, (column, address) in enumerate(targets.items()):
        of_others = sum(BYTES_OF_A_FLOAT * width for other, width in widths.items() if other != column)
        row_groups = min(count, max(math.ceil((draft_bytes - count * of_others) / group_bytes), minimum_row_groups))
        of_set = drafted.select(*shared, F.col(f"`{column}`").alias(name))
        finished = hadoop.Path(staging, f"finished-{number}")
        # A file is one row group as long as it stays below the block size.
        _spread(of_set, count, max(row_groups, 1)).write.options(
            **FILE_OPTIONS, **{"parquet.block.size": str(int(2 * group_bytes))}
        ).parquet(finished.toString())
        written[column] = WrittenSet(count, file_system.getContentSummary(finished).getLength(), row_groups)
        _move(file_system, hadoop, finished, hadoop.Path(address))
    file_system.delete(staging, True)
    return written


def _widths(rows: DataFrame, columns: list[str]) -> dict[str, int]:
    """Values that the vectors of each column have, from the first row."""
    row = rows.select(*[F.size(F.col(f"`{column}`")) for column in columns]).first()
    return dict(zip(columns, row, strict=True)) if row is not None else {}


def _move(file_system: Any, hadoop: Any, finished: Any, folder: Any) -> None:
    """Put a finished folder into place; on an object store it is moved file by file: the marker goes first and last."""
    marker = hadoop.Path(folder, COMPLETE_MARKER)
    file_system.delete(hadoop.Path(finished, COMPLETE_MARKER), False)
    file_system.delete(marker, False)
    file_system.delete(folder, True)
    file_system.mkdirs(folder.getParent())
    if not file_system.rename(finished, folder):
        raise OSError(f"{finished.toString()} cannot be moved to {folder.toString()}")
    file_system.create(marker, True).close()


def _spread(rows: DataFrame, count: int, partitions: int) -> DataFrame:
    """Spread rows evenly over partitions.

    Each task of Spark's repartition sorts its rows by hash and sends them round robin, so a partition may get one more
    row of a task than another: with `ROWS_OF_A_TASK_IN_A_GROUP` rows or more a task, that is a tenth at most.
    """
    tasks = max(count // (ROWS_OF_A_TASK_IN_A_GROUP * partitions), 1)
    # Spark makes one of two repartitions that follow each other: a filter that lets all rows pass keeps them apart.
    return rows.coalesce(tasks).where(F.spark_partition_id() >= 0).repartition(partitions)
