"""Replacing the rows of a table without ``dt`` by those of another night: only what differs is written.

Rows are compared by their whole content, as multisets. Equal: no snapshot at all. Else one snapshot: added rows in new
files, and files that held removed rows written anew without them; all other files are those of the snapshot before,
so that the tags of many nights share them. Files are sorted by the first column of the key, a range of users (or
items) each, so that what is taken from few users stands in few files. Nothing but counts and the names of files comes
to the driver.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.warehouse.schemas import in_present_form, with_foreign_columns
from recsae_lib.platform.warehouse.tables import INTERACTIONS, ITEMS, Table

if TYPE_CHECKING:
    from recsae_lib.platform.warehouse.store import Warehouse

FILE_BYTES = 128 << 20  # of a data file: where one row goes, the whole file is written anew
FILE_SIZE = {"target-file-size-bytes": str(FILE_BYTES)}  # option of a write
MOST = 0.5  # where more of the rows go than this, looking for their files gains nothing: all are written anew


def replace_changed(warehouse: Warehouse, table: Table, rows: DataFrame, properties: Mapping[str, str]) -> bool:
    """Let the branch of the audit hold these rows, in one commit or, if it holds them, none.

    `rows` are computed twice where some have changed.

    Parameters
    ----------
    table : without ``dt``; its branch exists.
    properties : of the snapshot that a change makes.

    Returns
    -------
    bool : False where nothing was done, as all or most rows would be written: then overwrite them all.
    """
    branch = _Branch(warehouse, table, warehouse.iceberg(table))
    branch.sort_files()
    if not branch.count:
        return False
    names, before = table.schema.names, branch.rows()
    if same_rows(before.select(*names), rows.select(*names)):
        return True
    found = keep(differences(before.select(*names), rows.select(*names)))
    try:
        more, fewer = F.greatest(F.col("change"), F.lit(0)), F.greatest(-F.col("change"), F.lit(0))
        counted = found.agg(F.sum(more), F.sum(fewer)).first()
        assert counted is not None  # an aggregate has a row
        added, removed = (number or 0 for number in counted)
        if removed > MOST * branch.count:
            return False
        gone = branch.files_with(found.where("change < 0")) if removed else []
        stay = sum(task.file().recordCount() for task in gone) - removed
        new = branch.written(branch.rest_of(gone, found.where("change < 0")), stay) if stay else []
        # Added rows have files of their own: what came in one night leaves, by its age, with few others.
        new += branch.written(repeated(found.where("change > 0"), "change"), added) if added else []
        branch.commit(gone, new, properties)
    finally:
        free(found)
    return True


def same_rows(one: DataFrame, other: DataFrame) -> bool:
    """Whether two sets of rows with the same columns are equal as multisets; one scan of each and no shuffle.

    By number, sum and exclusive-or of a 64-bit hash of each row, with a salt that is drawn anew each time: nobody can
    make rows that pass for others.
    """
    row_hash = F.xxhash64(F.lit(secrets.randbits(63)), *one.columns)
    sign = F.col("sign")
    signed = one.withColumn("sign", F.lit(1)).unionByName(other.withColumn("sign", F.lit(-1)))
    counted = signed.agg(F.sum(sign), F.sum(sign * row_hash.cast("decimal(20,0)")), F.bit_xor(row_hash)).first()
    return counted is not None and not any(counted)


def differences(before: DataFrame, after: DataFrame) -> DataFrame:
    """The contents whose number of rows differs, each once; one shuffle of all rows, by content.

    Returns
    -------
    DataFrame : the columns of both; ``change``: rows more than before, negative for fewer; ``now``: rows after.
    """
    sign = F.col("sign")
    both = before.withColumn("sign", F.lit(-1)).unionByName(after.withColumn("sign", F.lit(1)))
    counted = both.groupBy(*before.columns).agg(F.sum(sign).alias("change"), F.count_if(sign > 0).alias("now"))
    return counted.where(F.col("change") != 0)


def data_digest(warehouse: Warehouse) -> str:
    """Digest of the contents of interactions and items, whatever the order of their rows: count, sum and exclusive-or
    of a 64-bit hash of each row.
    """
    parts = []
    for table in (INTERACTIONS, ITEMS):
        row_hash = F.xxhash64(*table.schema.names)
        count, total = F.count(F.lit(1)).alias("rows"), F.sum(row_hash.cast("decimal(38,0)")).alias("sum")
        parts.append(str(warehouse.read(table).agg(count, total, F.bit_xor(row_hash).alias("xor")).first()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def repeated(contents: DataFrame, number: str) -> DataFrame:
    """Each row as many times as its column `number` says, maybe not at all."""
    return contents.withColumn("copy", F.explode(F.array_repeat(F.lit(0), F.col(number).cast("int")))).drop("copy")


@dataclass(frozen=True)
class _Branch:
    """The branch of an audit as it stands when it is first looked at."""

    warehouse: Warehouse
    table: Table
    iceberg: Any

    @property
    def count(self) -> int:
        """Number of rows, as Iceberg has counted them."""
        return int(self._head.summary().get("total-records") or 0)

    def sort_files(self) -> None:
        """Have writes make files that are ranges of the first column of the key, also in tables of earlier releases."""
        if self.iceberg.sortOrder().isUnsorted():
            name = self.warehouse.full_name(self.table)
            self.warehouse.spark.sql(f"ALTER TABLE {name} WRITE ORDERED BY {self.table.key[0]}")

    def rows(self) -> DataFrame:
        """Its rows, with the column ``_file``."""
        return self._read("snapshot-id", self._head.snapshotId())

    def files_with(self, fewer: DataFrame) -> list[Any]:
        """Iceberg's tasks that read the files in which rows of these contents stand."""
        rows = self.rows()
        hit = rows.join(fewer, _same_content(rows, fewer, self._names), "left_semi").select("_file").distinct()
        locations = {row["_file"] for row in hit.collect()}  # of files
        planned = self.iceberg.newScan().useSnapshot(self._head.snapshotId()).planFiles()
        try:
            return [task for task in _each(planned) if task.file().location() in locations]
        finally:
            planned.close()

    def rest_of(self, tasks: Iterable[Any], fewer: DataFrame) -> DataFrame:
        """The rows of some files that are still there, read the way in which Iceberg's own upkeep reads files."""
        listed, name = self._jvm.java.util.ArrayList(), str(uuid.uuid4())
        for task in tasks:
            listed.add(task)
        self._jvm.org.apache.iceberg.spark.ScanTaskSetManager.get().stageTasks(self.iceberg, name, listed)
        rows = self._read("scan-task-set-id", name)
        untouched = rows.join(fewer, _same_content(rows, fewer, self._names), "left_anti")
        return untouched.select(*self._names).unionByName(repeated(fewer, "now").select(*self._names))

    def written(self, rows: DataFrame, count: int) -> list[Any]:
        """Data files with so many rows, which no snapshot knows yet, written as Iceberg's own upkeep writes files."""
        name = str(uuid.uuid4())
        rows = with_foreign_columns(rows.select(*self._names), self.table, self.warehouse.columns(self.table))
        is_one_file = count * self._bytes_of_a_row <= FILE_BYTES
        # Of one file there are no ranges to look for, which would compute the rows twice.
        write = (rows.coalesce(1) if is_one_file else rows).writeTo(self.warehouse.full_name(self.table))
        write = write.option("distribution-mode", "none") if is_one_file else write
        write = write.option("rewritten-file-scan-task-set-id", name).options(**FILE_SIZE)
        write.option("check-nullability", "false").append()
        coordinator = self._jvm.org.apache.iceberg.spark.FileRewriteCoordinator.get()
        files = list(_each(coordinator.fetchNewFiles(self.iceberg, name)))
        coordinator.clearRewrite(self.iceberg, name)
        return files

    def commit(self, gone: Iterable[Any], new: Iterable[Any], properties: Mapping[str, str]) -> None:
        """Replace files by others, unless something came to the branch that nobody has compared with."""
        every = self._jvm.org.apache.iceberg.expressions.Expressions.alwaysTrue()
        change = self.iceberg.newOverwrite().toBranch(self.warehouse.branch)
        change = change.validateFromSnapshot(self._head.snapshotId()).conflictDetectionFilter(every)
        change = change.validateNoConflictingData().validateNoConflictingDeletes()
        for name, value in properties.items():
            change = change.set(name, value)
        for task in gone:
            change = change.deleteFile(task.file())
        for file in new:
            change = change.addFile(file)
        change.commit()

    @property
    def _head(self) -> Any:
        return self.iceberg.snapshot(self.warehouse.branch)  # of the table as it was loaded

    @property
    def _bytes_of_a_row(self) -> float:
        return int(self._head.summary().get("total-files-size")) / self.count

    @property
    def _names(self) -> list[str]:
        return list(self.table.schema.names)

    @property
    def _jvm(self) -> Any:
        return self.warehouse.spark.sparkContext._jvm

    def _read(self, option: str, value: object) -> DataFrame:
        read = self.warehouse.spark.read.option(option, str(value))
        rows = in_present_form(self.table, read.table(self.warehouse.full_name(self.table)))
        return rows.select("_file", *self._names)


def _same_content(one: DataFrame, other: DataFrame, names: Iterable[str]) -> Column:
    """Condition of a join: equal in all columns, a null equal to a null."""
    return reduce(and_, (one[name].eqNullSafe(other[name]) for name in names))


def _each(iterable: Any) -> Iterable[Any]:
    found = iterable.iterator()
    while found.hasNext():
        yield found.next()
