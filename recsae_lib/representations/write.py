"""Write representations as Parquet that Petastorm reads: even row groups, and all of the set or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.representations.layout import COMPLETE_MARKER, RepresentationSet

# Floats neither repeat nor compress: a dictionary would be tried in vain, and would make sizes hard to foresee.
FILE_OPTIONS = {"parquet.enable.dictionary": "false"}
ROWS_OF_A_TASK_IN_A_GROUP = 10


@dataclass(frozen=True)
class WrittenSet:
    """What was written: rows, bytes of the files, and row groups (one a file)."""

    rows: int
    bytes: int
    row_groups: int


def write_representations(
    rows: DataFrame, target: RepresentationSet | str, row_group_mib: float, minimum_row_groups: int
) -> WrittenSet:
    """Replace the set at `target` by `rows`, each row group a random sample of them.

    The rows are computed once, into a draft beside the target; its size decides the number of row groups. The draft is
    dealt out to as many files, one row group each: parquet-mr sees to the size of a row group only every so many rows
    and would leave a short one at the end of each file. The finished files are moved into place, and a marker is put
    beside them last, without which `RepresentationSet.require` refuses the folder. A writer that was killed leaves a
    hidden staging folder, which the next one for the same target removes.

    Parameters
    ----------
    target : where to write; or a folder for other bulk rows, as path or address.
    row_group_mib : size that no row group exceeds, MiB before compression.
    minimum_row_groups : row groups at least; one a row where there are fewer rows.

    Raises
    ------
    OSError : the files cannot be moved into place.
    """
    spark = rows.sparkSession
    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs  # type: ignore[union-attr]
    folder = hadoop.Path(target.path if isinstance(target, RepresentationSet) else target)
    file_system = folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    staging = hadoop.Path(folder.getParent(), f".staging-{folder.getName()}")
    draft, finished = hadoop.Path(staging, "draft"), hadoop.Path(staging, "finished")
    file_system.delete(staging, True)

    rows.write.options(**FILE_OPTIONS, compression="uncompressed").parquet(draft.toString())
    drafted = spark.read.schema(rows.schema).parquet(draft.toString())
    count = drafted.count()
    group_bytes = row_group_mib * 2**20
    wanted = math.ceil(file_system.getContentSummary(draft).getLength() / group_bytes)
    row_groups = min(count, max(wanted, minimum_row_groups))
    dealt = _deal(drafted, count, max(row_groups, 1))
    # A file is one row group as long as it stays below the block size.
    dealt.write.options(**FILE_OPTIONS, **{"parquet.block.size": str(int(2 * group_bytes))}).parquet(
        finished.toString()
    )
    size = file_system.getContentSummary(finished).getLength()

    # On an object store a folder is moved file by file: the marker must go first and come last.
    marker = hadoop.Path(folder, COMPLETE_MARKER)
    file_system.delete(hadoop.Path(finished, COMPLETE_MARKER), False)
    file_system.delete(marker, False)
    file_system.delete(folder, True)
    if not file_system.rename(finished, folder):
        raise OSError(f"{finished.toString()} cannot be moved to {folder.toString()}")
    file_system.create(marker, True).close()
    file_system.delete(staging, True)
    return WrittenSet(count, size, row_groups)


def _deal(rows: DataFrame, count: int, hands: int) -> DataFrame:
    """Deal rows out to `hands` partitions of equal size.

    Each task of Spark's repartition sorts its rows by hash and deals them round robin, so a partition may get one more
    row of a task than another: with `ROWS_OF_A_TASK_IN_A_GROUP` rows or more a task, that is a tenth at most.
    """
    tasks = max(count // (ROWS_OF_A_TASK_IN_A_GROUP * hands), 1)
    # Spark makes one of two repartitions that follow each other: a filter that lets all rows pass keeps them apart.
    return rows.coalesce(tasks).where(F.spark_partition_id() >= 0).repartition(hands)
