"""Taking the rows of one user out of a table as it was at every moment that anybody can read.

1. Of each snapshot that a branch, a tag or a publication names a copy is made that shares all files but those with rows
   of the user (`copy_snapshots`). The branch ``forgotten-<snapshot>`` holds it and says what it is the copy of.
2. One commit of each table ``audits`` has all its publications name the copies (`name_copies`). Readers see whole
   audits before and after.
3. One commit of each table has its branches and tags name the copies (`move_references`).
4. All other snapshots go, with the files that only they have (`drop_history`).

Each commit is whole, and what was done is seen: a kill is followed by another run.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.commits import overwrite
from recsae_lib.platform.warehouse.fencing import UPKEEP_PROPERTY
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDITS, Table
from recsae_lib.platform.warehouse.tables.users import UserColumn

COPY = re.compile(r"forgotten-(\d+)", re.ASCII)
BOUND_CHARACTERS = 16  # of a text that Iceberg keeps as the lowest or highest value of a file
DELETED, DATA = 2, 0  # status of an entry in the list of files of a snapshot; content of a data file
Copies = dict[tuple[str, int], int]  # of each table, by name, and snapshot: the copy without the user


@dataclass
class Erased:
    """What was done to a table.

    Parameters
    ----------
    rows : of the user, in the data files of all snapshots, each file counted once.
    copies : of snapshots.
    """

    rows: int = 0
    copies: Copies = field(default_factory=dict)


def named_snapshots(warehouse: Warehouse, table: Table, published: Iterable[tuple[str, int]]) -> list[int]:
    """Snapshots that people can read, newest first: heads of branches, tags, and what publications name.

    Parameters
    ----------
    published : table and snapshot, of all publications of all namespaces that read the table.
    """
    iceberg = warehouse.iceberg(table)
    named = {reference.snapshotId() for reference in iceberg.refs().values()}
    named |= {snapshot for name, snapshot in published if name == table.name}
    found = [snapshot for snapshot in map(iceberg.snapshot, named) if snapshot is not None]
    found.sort(key=lambda snapshot: (snapshot.sequenceNumber(), snapshot.snapshotId()), reverse=True)
    return [int(snapshot.snapshotId()) for snapshot in found]


def published_snapshots(warehouses: Iterable[Warehouse]) -> set[tuple[str, int]]:
    """Table and snapshot of everything that the publications of some namespaces name."""
    found = (publication for warehouse in warehouses for publication in publications(warehouse))
    return {pair for publication in found for pair in publication.snapshots.items()}


def copy_snapshots(
    warehouse: Warehouse, table: Table, column: UserColumn, user: str, published: Iterable[tuple[str, int]]
) -> Erased:
    """Copy every named snapshot that tells of a user, and that has no copy yet."""
    copying = _Copying(warehouse, table, column, user)
    snapshots = named_snapshots(warehouse, table, published)
    dirty = copying.files_with_user(snapshots)
    copied = copies_of(warehouse, table)
    for snapshot in snapshots:
        if snapshot not in copied and copying.tells(snapshot, dirty):
            copying.copy(snapshot, dirty)
    return Erased(sum(dirty.values()), {(table.name, old): new for old, new in copies_of(warehouse, table).items()})


def copies_of(warehouse: Warehouse, table: Table) -> dict[int, int]:
    """Copy of each snapshot that has one; of a copy that was copied itself, for another user, the last one."""
    found = {
        int(match[1]): snapshot
        for name, snapshot in warehouse.references(table).items()
        if (match := COPY.fullmatch(name)) is not None
    }
    for old, new in found.items():
        while new in found:
            new = found[new]
        found[old] = new
    return found


def name_copies(warehouse: Warehouse, copies: Mapping[tuple[str, int], int]) -> int:
    """Have all publications of a namespace name the copies, in one commit; returns how many changed."""

    def put() -> int:
        base = warehouse.references(AUDITS).get("main")
        if base is None:
            return 0
        rows = warehouse.spark.read.option("snapshot-id", base).table(warehouse.full_name(AUDITS))
        place, changed, renamed = rows.columns.index("snapshots"), 0, []
        for row in rows.collect():  # a row a night
            named = {name: copies.get((name, snapshot), snapshot) for name, snapshot in row["snapshots"].items()}
            changed += named != row["snapshots"]
            renamed.append((*row[:place], named, *row[place + 1 :]))
        if changed:
            new = warehouse.spark.createDataFrame(renamed, rows.schema)
            name = warehouse.full_name(AUDITS)
            overwrite(name, new.coalesce(1), F.lit(True), base, {UPKEEP_PROPERTY: "true"}, {})
        return changed

    return warehouse.change(AUDITS, put)


def move_references(warehouse: Warehouse, table: Table) -> list[str]:
    """Have branches and tags name the copies, and let go of the branches of the copies, in one commit; returns the
    names of those that moved.
    """

    def move() -> list[str]:
        iceberg, copies = warehouse.iceberg(table), copies_of(warehouse, table)
        changes, moved = iceberg.manageSnapshots(), []
        for name, reference in iceberg.refs().items():
            new = copies.get(reference.snapshotId())
            if COPY.fullmatch(name) is not None:
                changes = changes.removeBranch(name)
            elif new is not None:
                moved.append(name)
                if name == "main":
                    changes = changes.setCurrentSnapshot(new)
                elif reference.isBranch():
                    changes = changes.replaceBranch(name, new)
                else:
                    changes = changes.replaceTag(name, new)
        if copies:
            changes.commit()
        return moved

    return warehouse.change(table, move)


def drop_history(warehouse: Warehouse, table: Table, published: Iterable[tuple[str, int]]) -> int:
    """Remove the snapshots that nobody names, at once, and the files that only they have; returns how many."""

    def drop() -> int:
        iceberg, named = warehouse.iceberg(table), set(named_snapshots(warehouse, table, published))
        past = [snapshot.snapshotId() for snapshot in iceberg.snapshots() if snapshot.snapshotId() not in named]
        expire = iceberg.expireSnapshots().expireOlderThan(0).cleanExpiredFiles(True)
        for snapshot in past:
            expire = expire.expireSnapshotId(snapshot)
        if past:
            expire.commit()
        return len(past)

    return warehouse.change(table, drop)


def tells_in_lists(warehouse: Warehouse, table: Table, column: UserColumn, user: str, snapshot: int | None) -> int:
    """Entries in the lists of files, of a snapshot or of all (None), that name a user: as the lowest or highest value
    of a file, be it a file that the snapshot has no longer.
    """
    field_id = warehouse.iceberg(table).schema().findField(column.name).fieldId()
    bound = F.lit(bytearray(user[:BOUND_CHARACTERS].encode()))
    entries = _metadata(warehouse, table, "all_entries" if snapshot is None else "entries", snapshot)
    bounds = [F.col(f"data_file.{which}_bounds")[F.lit(field_id)] for which in ("lower", "upper")]
    named = F.lit(False)
    for value in bounds:
        named = named | F.coalesce(value == bound, F.lit(False))
    # What files are there still for may be others with the same start of a long id, or items with the same name.
    is_exact = len(user) < BOUND_CHARACTERS and column.only is None
    gone = F.lit(True) if is_exact else F.col("status") == F.lit(DELETED)
    return entries.where(named & gone).count()


@dataclass
class _Copying:
    """The copies of the snapshots of one table.

    Parameters
    ----------
    tasks : Iceberg's task that reads a data file, by its location.
    files : locations of the data files of each snapshot.
    new : Iceberg's data files that take the place of a file, by its location.
    """

    warehouse: Warehouse
    table: Table
    column: UserColumn
    user: str
    tasks: dict[str, Any] = field(default_factory=dict)
    files: dict[int, set[str]] = field(default_factory=dict)
    new: dict[str, list[Any]] = field(default_factory=dict)

    def files_with_user(self, snapshots: Iterable[int]) -> dict[str, int]:
        """Rows of the user in each data file of some snapshots that has any."""
        iceberg = self.warehouse.iceberg(self.table)
        for snapshot in snapshots:
            listed = _metadata(self.warehouse, self.table, "files", snapshot).select("file_path", "content").collect()
            if any(row["content"] != DATA for row in listed):
                raise InputError(
                    f"{self.warehouse.full_name(self.table)} has files of deleted rows, which another program made",
                    "Merge them first (Iceberg's rewrite_data_files with delete-file-threshold 1), then run this again",
                )
            self.files[snapshot] = {row["file_path"] for row in listed}  # names of files
            if self.files[snapshot] - self.tasks.keys():
                planned = iceberg.newScan().includeColumnStats().useSnapshot(snapshot).planFiles()
                try:
                    for task in _each(planned):
                        self.tasks.setdefault(task.file().location(), task)
                finally:
                    planned.close()
        if not self.tasks:
            return {}
        found = self._rows_of(self.tasks.values()).where(self.column.is_of(self.user))
        return {row["_file"]: row["count"] for row in found.groupBy("_file").count().collect()}

    def tells(self, snapshot: int, dirty: Mapping[str, int]) -> bool:
        """Whether a snapshot has rows of the user, or names the user in its lists."""
        if not self.files[snapshot].isdisjoint(dirty):
            return True
        return tells_in_lists(self.warehouse, self.table, self.column, self.user, snapshot) > 0

    def copy(self, snapshot: int, dirty: Mapping[str, int]) -> None:
        """Make the copy of a snapshot and the branch that holds it, in one commit."""
        for location in sorted(self.files[snapshot] & dirty.keys()):
            if location not in self.new:
                self.new[location] = self._written_without(location, dirty[location])
        branch = f"forgotten-{snapshot}"

        def commit() -> None:
            if branch in self.warehouse.references(self.table):
                return
            transaction = self.warehouse.iceberg(self.table).newTransaction()
            transaction.manageSnapshots().createBranch(branch, snapshot).commit()
            # All files leave and those that stay come back, so that new lists are written: the old ones would go on
            # naming the files that are gone, with their lowest and highest users. No data are copied.
            every = self._jvm.org.apache.iceberg.expressions.Expressions.alwaysTrue()
            leave = transaction.newDelete().deleteFromRowFilter(every).set(UPKEEP_PROPERTY, "true")
            leave.toBranch(branch).commit()
            come = transaction.newAppend().set(UPKEEP_PROPERTY, "true")
            for location in sorted(self.files[snapshot]):
                kept = self.new[location] if location in dirty else [self.tasks[location].file()]
                for file in kept:
                    come = come.appendFile(file)
            come.toBranch(branch).commit()
            transaction.commitTransaction()

        self.warehouse.change(self.table, commit)

    def _rows_of(self, tasks: Iterable[Any]) -> DataFrame:
        """The rows of some files, read the way in which Iceberg's own upkeep reads files."""
        listed, name = self._jvm.java.util.ArrayList(), str(uuid.uuid4())
        for task in tasks:
            listed.add(task)
        iceberg, spark = self.warehouse.iceberg(self.table), self.warehouse.spark
        self._jvm.org.apache.iceberg.spark.ScanTaskSetManager.get().stageTasks(iceberg, name, listed)
        rows = spark.read.option("scan-task-set-id", name).table(self.warehouse.full_name(self.table))
        return rows.select("*", "_file")

    def _written_without(self, location: str, rows: int) -> list[Any]:
        """Data files with what a file holds but the user's rows, which no snapshot knows yet."""
        task, iceberg = self.tasks[location], self.warehouse.iceberg(self.table)
        if task.file().recordCount() == rows:
            return []
        name, full_name = str(uuid.uuid4()), self.warehouse.full_name(self.table)
        rest = self._rows_of([task]).where(~self.column.is_of(self.user)).drop("_file").coalesce(1)
        write = rest.writeTo(full_name).option("rewritten-file-scan-task-set-id", name)
        write.option("distribution-mode", "none").option("check-nullability", "false").append()
        coordinator = self._jvm.org.apache.iceberg.spark.FileRewriteCoordinator.get()
        files = list(_each(coordinator.fetchNewFiles(iceberg, name)))
        coordinator.clearRewrite(iceberg, name)
        return files

    @property
    def _jvm(self) -> Any:
        return self.warehouse.spark.sparkContext._jvm


def _metadata(warehouse: Warehouse, table: Table, name: str, snapshot: int | None) -> DataFrame:
    read = warehouse.spark.read if snapshot is None else warehouse.spark.read.option("snapshot-id", str(snapshot))
    return read.table(f"{warehouse.full_name(table)}.{name}")


def _each(iterable: Any) -> Iterator[Any]:
    found = iterable.iterator()
    while found.hasNext():
        yield found.next()
