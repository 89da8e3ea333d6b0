"""Replacing the rows of a table without ``dt`` by those of another night: only what differs is written.

Rows are compared by their whole content, as multisets. Equal: no snapshot at all. Else one snapshot: added rows in new
files, and files that held removed rows written anew without them; all other files are those of the snapshot before,
so that the tags of many nights share them. Files are sorted by the first column of the key, a range of users (or
items) each, so that what is taken from few users stands in few files. Nothing but counts and the names of files comes
to the driver.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.warehouse.tables import Table

FILE_BYTES = 128 << 20  # of a data file: for one row less, a whole file is written anew
MOST = 0.5  # where more of the rows go than this, all are written anew: looking for the files of each gains nothing
COUNTS = ("change", "left")


@dataclass(frozen=True)
class RawTable:
    """A table without ``dt``, and the branch whose rows are replaced.

    Parameters
    ----------
    full_name : catalog, namespace, name.
    iceberg : the table as Iceberg's Java object.
    branch : it exists.
    properties : of the snapshot that a change makes.
    """

    spark: SparkSession
    table: Table
    full_name: str
    iceberg: Any
    branch: str
    properties: dict[str, str]

    @property
    def rows(self) -> int:
        """Number of rows of the branch, as Iceberg has counted them."""
        return int(self.iceberg.snapshot(self.branch).summary().get("total-records") or 0)

    def replace_changed(self, before: DataFrame, after: DataFrame) -> bool:
        """Let the branch hold the rows of `after`, in at most one commit; False, with nothing done, where most rows
        would be written anyway: then overwrite them all.

        `after` is computed twice, and once more for most of the rest where files are written anew.

        Parameters
        ----------
        before : rows of the branch, with the column ``_file``.
        """
        names, rows = self.table.schema.names, self.rows
        if not rows:
            return False
        if same_rows(before.select(*names), after.select(*names)):
            return True
        found = keep(differences(before.select(*names), after.select(*names)))
        try:
            added, removed = (F.coalesce(F.sum(F.greatest(sign * F.col("change"), F.lit(0))), F.lit(0)) for sign in (1, -1))
            counted = found.agg(added, removed).first()
            assert counted is not None
            if counted[1] > MOST * rows:
                return False
            self._commit(before, found, bool(counted[0]), bool(counted[1]))
        finally:
            free(found)
        return True

    def _commit(self, before: DataFrame, found: DataFrame, adds: bool, removes: bool) -> None:
        names = self.table.schema.names
        head = self.iceberg.snapshot(self.branch).snapshotId()
        gone, new = [], []
        if removes:
            fewer = found.where("change < 0")
            hit = before.join(fewer, same_content(before, fewer, names), "left_semi").select("_file").distinct()
            gone = self._tasks(head, {row["_file"] for row in hit.collect()})  # names of files
            rows = self._rows_of(gone).select(*names)
            stays = rows.join(fewer, same_content(rows, fewer, names), "left_anti")
            new += self._written(stays.unionByName(repeated(fewer, "left").select(*names)))
        if adds:
            # Files of their own: what came in one night will leave, by its age, with few others.
            new += self._written(repeated(found.where("change > 0"), "change").select(*names))
        every = self._jvm.org.apache.iceberg.expressions.Expressions.alwaysTrue()
        change = self.iceberg.newOverwrite().toBranch(self.branch)
        # Whatever else comes to the branch in the meantime was not compared with.
        change = change.validateFromSnapshot(head).conflictDetectionFilter(every)
        change = change.validateNoConflictingData().validateNoConflictingDeletes()
        for name, value in self.properties.items():
            change = change.set(name, value)
        for task in gone:
            change = change.deleteFile(task.file())
        for file in new:
            change = change.addFile(file)
        change.commit()

    def _tasks(self, head: int, files: set[str]) -> list[Any]:
        """What reads each of some files, for Iceberg."""
        planned = self.iceberg.newScan().useSnapshot(head).planFiles()
        try:
            return [task for task in _each(planned) if task.file().location() in files]
        finally:
            planned.close()

    def _rows_of(self, tasks: Iterable[Any]) -> DataFrame:
        """Rows of some files, the way in which Iceberg's own upkeep reads them."""
        listed, name = self._jvm.java.util.ArrayList(), str(uuid.uuid4())
        for task in tasks:
            listed.add(task)
        self._jvm.org.apache.iceberg.spark.ScanTaskSetManager.get().stageTasks(self.iceberg, name, listed)
        return self.spark.read.option("scan-task-set-id", name).table(self.full_name)

    def _written(self, rows: DataFrame) -> list[Any]:
        """Write data files that no snapshot knows yet, the way in which Iceberg's own upkeep does."""
        name = str(uuid.uuid4())
        writer = rows.writeTo(self.full_name).option("rewritten-file-scan-task-set-id", name)
        writer.option("target-file-size-bytes", str(FILE_BYTES)).option("check-nullability", "false").append()
        coordinator = self._jvm.org.apache.iceberg.spark.FileRewriteCoordinator.get()
        files = list(_each(coordinator.fetchNewFiles(self.iceberg, name)))
        coordinator.clearRewrite(self.iceberg, name)
        return files

    @property
    def _jvm(self) -> Any:
        return self.spark.sparkContext._jvm


def sort_files(spark: SparkSession, table: Table, full_name: str, iceberg: Any) -> None:
    """Have writes make files that are ranges of the first column of the key, also in tables of earlier releases."""
    if iceberg.sortOrder().isUnsorted():
        spark.sql(f"ALTER TABLE {full_name} WRITE ORDERED BY {table.key[0]}")


def same_rows(one: DataFrame, other: DataFrame) -> bool:
    """Whether two sets of rows with the same columns are equal as multisets; one scan of each and no shuffle.

    By number, sum and exclusive-or of a 64-bit hash of each row, with a salt that is drawn anew each time: nobody can
    make rows that it mistakes for others.
    """
    row_hash = F.xxhash64(F.lit(secrets.randbits(63)), *one.columns)
    sign = F.col("sign")
    signed = one.withColumn("sign", F.lit(1)).unionByName(other.withColumn("sign", F.lit(-1)))
    counted = signed.agg(F.sum(sign), F.sum(sign * row_hash.cast("decimal(38,0)")), F.bit_xor(row_hash)).first()
    return counted is not None and not any(counted)


def differences(before: DataFrame, after: DataFrame) -> DataFrame:
    """The contents whose number of rows differs, each once; one shuffle of all rows, by content.

    Returns
    -------
    DataFrame : the columns of both; ``change``: rows more than before, negative for fewer; ``left``: rows now.
    """
    sign = F.col("sign")
    both = before.withColumn("sign", F.lit(-1)).unionByName(after.withColumn("sign", F.lit(1)))
    counted = both.groupBy(*before.columns).agg(F.sum(sign).alias(COUNTS[0]), F.count_if(sign > 0).alias(COUNTS[1]))
    return counted.where(F.col("change") != 0)


def repeated(contents: DataFrame, number: str) -> DataFrame:
    """Each row as many times as its column `number` says, maybe not at all."""
    return contents.withColumn("copy", F.explode(F.array_repeat(F.lit(0), F.col(number).cast("int")))).drop("copy")


def same_content(one: DataFrame, other: DataFrame, names: Iterable[str]) -> Column:
    """Condition of a join: equal in all columns, a null equal to a null."""
    return reduce(and_, (one[name].eqNullSafe(other[name]) for name in names))


def _each(iterable: Any) -> Iterable[Any]:
    found = iterable.iterator()
    while found.hasNext():
        yield found.next()
