"""Reading and replacing table partitions on Iceberg, every audit on a branch of its own until it is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.config import Scope
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.traffic import count_written
from recsae_lib.platform.warehouse.commits import Answer, change, create, overwrite
from recsae_lib.platform.warehouse.data_files import BatchesOf, Part, commit_data_files, write_data_files
from recsae_lib.platform.warehouse.fencing import UPKEEP_PROPERTY, Locks, fenced, snapshot_properties
from recsae_lib.platform.warehouse.publications import last_of_each_date, publications
from recsae_lib.platform.warehouse.raw_history import FILE_SIZE, replace_changed
from recsae_lib.platform.warehouse.read_point import ReadPoint, read_point_of
from recsae_lib.platform.warehouse.schemas import (
    add_columns,
    conform,
    creation,
    in_present_form,
    later_columns,
    refuse_outdated,
    refuse_unreadable,
    refuse_unwritable,
    with_foreign_columns,
)
from recsae_lib.platform.warehouse.tables import STAMPS, Table, history


class Versions(Protocol):
    """The versions that an audit works with, as registered; each is looked up when it is first asked for."""

    @property
    def model_version(self) -> int:
        """Version of the recommender."""

    @property
    def sae_version(self) -> int:
        """Version of the sparse autoencoder."""


@dataclass(frozen=True)
class Warehouse:
    """The tables of one application, as the audit of one date sees them.

    Parameters
    ----------
    spark : session whose properties declare the catalog.
    catalog : where the tables live; an identifier by the settings' pattern.
    namespaces : namespace of the tables of each scope (`Settings.namespaces`).
    dt : date of the audit; its writes go to the branch ``audit-<dt>`` of each table.
    versions : what the audit works with; None where all rows that are written bring their versions.
    locks : under which it writes; None where nothing is locked.
    """

    spark: SparkSession
    catalog: str
    namespaces: Mapping[Scope, str]
    dt: date
    versions: Versions | None = None
    locks: Locks | None = None

    def at(self, dt: date) -> Warehouse:
        """The same tables, as the audit of another date sees them."""
        return Warehouse(self.spark, self.catalog, self.namespaces, dt, locks=self.locks)

    @property
    def branch(self) -> str:
        """Branch that holds this audit until it is published."""
        return f"audit-{self.dt.isoformat()}"

    def full_name(self, table: Table) -> str:
        """Catalog, namespace and name of a table."""
        return f"{self.catalog}.{self._namespace(table)}.{table.name}"

    def exists(self, table: Table) -> bool:
        """Whether the table has been created."""
        return self.spark.catalog.tableExists(self.full_name(table))

    def references(self, table: Table) -> dict[str, int]:
        """Branches and tags of a table with their snapshot ids."""
        if not self.exists(table):
            return {}
        # Not by a query, which is a Spark job. An array: the end of a Java iterator is an error, slow to come by py4j.
        found = self.iceberg(table).refs()
        return {name: found[name].snapshotId() for name in found.keySet().toArray()}

    def snapshot_id(self, table: Table) -> int | None:
        """Snapshot that `read` reads: of the audit's branch where the table has one, else the one that was published
        for this date, else main's.
        """
        references = self.references(table)
        if self.branch in references:
            return references[self.branch]
        if table.published_by == "audit" and references:
            published = last_of_each_date(publications(self)).get(self.dt)
            if published is not None and table.name in published.snapshots:
                return published.snapshots[table.name]
        return references.get("main")

    def read(self, table: Table) -> DataFrame:
        """Rows of this audit: the ``dt`` partition (all rows of a table without ``dt``), of `snapshot_id`.

        Raises
        ------
        InputError : the table does not exist, or its columns differ from the declaration.
        """
        snapshot = self.snapshot_id(table)
        rows = None if snapshot is None else self.read_snapshot(table, snapshot)
        if rows is None:
            gone = (
                "does not exist or was never written"
                if snapshot is None
                else f"no longer holds what the audit of {self.dt} has read"
            )
            raise InputError(f"Table {self.full_name(table)} {gone}", f"Run {table.writer_in_words} first")
        return rows.where(self._part(table))

    def read_filled(self, table: Table) -> DataFrame:
        """Like `read`, for a table that a job cannot work without.

        Raises
        ------
        InputError : as `read`; or this audit's part of the table holds no row.
        """
        rows = self.read(table)
        if rows.isEmpty():
            part = f" for dt={self.dt}" if table.partitioned_by_date else ""
            raise InputError(
                f"Table {self.full_name(table)} has no rows{part}",
                f"Run {table.writer_in_words} for this date, or give another --dt",
            )
        return rows

    def read_published(self, table: Table) -> DataFrame:
        """Rows of this audit's date as people see them; none where it is not published."""
        if table.published_by == "directly":
            return self.read_all(table).where(self._part(table))
        return self.published().read(self, table)

    def published(self) -> ReadPoint:
        """What people see of this audit's date: all tables of one publication."""
        return read_point_of(publications(self), self.dt)

    def read_all(self, table: Table) -> DataFrame:
        """Rows of all dates of a table that is published directly; none of one that does not exist yet."""
        main = self.references(table).get("main")
        rows = None if main is None else self.read_snapshot(table, main)
        return self.spark.createDataFrame([], table.schema) if rows is None else rows

    def read_snapshot(self, table: Table, snapshot: int) -> DataFrame | None:
        """Rows of all dates that a snapshot holds; None where the table has it no longer.

        Raises
        ------
        InputError : its columns differ from the declaration.
        """
        if self.iceberg(table).snapshot(snapshot) is None:
            return None
        rows = self.spark.read.option("snapshot-id", snapshot).table(self.full_name(table))
        if history.is_reshaped(table) and self.is_outdated(table):
            refuse_outdated([self.full_name(table)])
        rows = in_present_form(table, rows)
        refuse_unreadable(table, rows.schema, self.full_name(table))
        return rows.select(*table.schema.names)

    def merged_snapshot(self, table: Table, snapshot: int) -> int:
        """The head of main, where nothing but the upkeep has changed main since a snapshot; else that snapshot."""
        iceberg = self.iceberg(table)
        head = found = iceberg.currentSnapshot()
        while found is not None and found.snapshotId() != snapshot and _is_upkeep(found):
            parent = found.parentId()
            found = None if parent is None else iceberg.snapshot(parent)
        return snapshot if found is None or found.snapshotId() != snapshot else int(head.snapshotId())

    def replace(self, table: Table, rows: DataFrame) -> int:
        """Replace this audit's part of a table on its branch and return the number of rows that it has now.

        `rows` come without `STAMPS`: date and versions are filled in, the versions where the rows bring none. The write
        is one commit: readers see all of it or nothing. Of a table without ``dt`` it is none where the rows are those
        that the branch has, and else writes what differs (`raw_history`).

        Raises
        ------
        InputError : the rows do not fit the declaration.
        """
        new = conform(table, self._stamped(table, rows))
        self.ensure(table)

        def write() -> None:
            self._ensure_branch(table)
            base, properties = self.references(table).get(self.branch), snapshot_properties(self, table)
            if table.partitioned_by_date or not replace_changed(self, table, new, properties):
                self._overwrite(table, self.branch, new, base)

        self.change(table, write)
        # Iceberg has counted them: of a date what this commit added is the whole part.
        counted = "added-records" if table.partitioned_by_date else "total-records"
        return int(self.iceberg(table).snapshot(self.branch).summary().get(counted) or 0)

    def replace_by_files(self, table: Table, parts: Sequence[Part], batches_of: BatchesOf[Part]) -> int:
        """Like `replace`, of rows that Python workers make and write themselves, one file for each part.

        Parameters
        ----------
        parts, batches_of : see `write_data_files`; `STAMPS` are filled in.
        """
        self.ensure(table)
        iceberg, partition = self.iceberg(table), f"dt={self.dt.isoformat()}"
        stamps = self._stamps(table, ())
        files = write_data_files(self.spark, table, iceberg, partition, parts, batches_of, stamps)

        def commit() -> None:
            self._ensure_branch(table)
            part = self.branch, partition, files, snapshot_properties(self, table)
            commit_data_files(self.spark, self.iceberg(table), *part)

        self.change(table, commit)
        rows = sum(file.rows for file in files)
        count_written(rows, sum(file.bytes for file in files))
        return rows

    def merge(self, table: Table, rows: DataFrame, replaced: DataFrame | None = None) -> None:
        """Bring rows into this date's part of a table that is published directly, in place of those of the same key, or
        of all that have values of some columns as `replaced` has them. This is one commit; where others brought rows
        since the table was read, all is done again on top of theirs.
        """
        self.ensure(table)
        fitting = conform(table, self._stamped(table, rows))
        gone, part = fitting.select(*table.key) if replaced is None else replaced, self._part(table)

        def put() -> None:
            base = self.references(table).get("main")  # before the rows are read: what comes after it is a conflict
            merged = fitting
            if base is not None:
                found = self.spark.read.option("snapshot-id", base).table(self.full_name(table)).where(part)
                kept = in_present_form(table, found).join(gone, gone.columns, "left_anti")
                merged = kept.unionByName(fitting, allowMissingColumns=True)  # columns of people keep what they hold
            self._overwrite(table, "main", merged.coalesce(1), base)  # people make it: it is small

        self.change(table, put)

    def ensure(self, table: Table) -> None:
        """Create namespace and table where they are missing, with the declared comments; add columns that came later.

        Raises
        ------
        InputError : the table was written by an earlier version that wrote other values, lacks columns or has others of
            other types, or has columns of its own that may hold no nulls.
        """
        if self.exists(table):
            refuse_outdated([self.full_name(table)] if self.is_outdated(table) else [])
            self.add_later_columns(table)
            refuse_unwritable(table, self.columns(table), self.full_name(table))
            return
        namespace = f"{self.catalog}.{self._namespace(table)}"
        statement = creation(table, self.full_name(table))
        known = self.spark.catalog
        create(self.spark, f"CREATE NAMESPACE IF NOT EXISTS {namespace}", lambda: known.databaseExists(namespace))
        self.change(table, lambda: create(self.spark, statement, lambda: self.exists(table)))

    def add_later_columns(self, table: Table) -> list[str]:
        """Add the declared columns that a table which exists was made without; returns their names."""
        name = self.full_name(table)
        return self.change(table, lambda: add_columns(self.spark, name, later_columns(table, self.columns(table))))

    def columns(self, table: Table) -> T.StructType:
        """Columns that a table has on its branches; a tag has those of its time."""
        spark_schemas = self._jvm.org.apache.iceberg.spark.SparkSchemaUtil
        return T.StructType.fromJson(json.loads(spark_schemas.convert(self.iceberg(table).schema()).json()))

    def migrations(self, table: Table) -> list[history.Migration]:
        """What a table that exists has not behind it yet."""
        done = self.iceberg(table).properties().getOrDefault(history.SCHEMA_PROPERTY, "0")
        return history.migrations_of(table, int(done))

    def is_outdated(self, table: Table) -> bool:
        """Whether a table that exists holds what an earlier version wrote otherwise, and has not been migrated."""
        return bool(self.migrations(table))

    def drop_branch(self, table: Table) -> None:
        """Drop the audit's branch of a table, if there is one."""

        def drop() -> None:
            if self.branch in self.references(table):
                self.iceberg(table).manageSnapshots().removeBranch(self.branch).commit()

        self.change(table, drop)

    def change(self, table: Table, action: Callable[[], Answer]) -> Answer:
        """Do what ends in a commit to a table, while others commit to it too (`commits.change`).

        Raises
        ------
        PassingError : the lock under which this audit writes is lost.
        """
        return change(self.spark, self.catalog, self._namespace(table), table.name, fenced(self, table, action))

    def _namespace(self, table: Table) -> str:
        return self.namespaces[table.scope]

    def iceberg(self, table: Table) -> Any:
        """Load the table as Iceberg's Java object."""
        loader = self._jvm.org.apache.iceberg.spark.Spark3Util
        return loader.loadIcebergTable(self.spark._jsparkSession, self.full_name(table))

    @property
    def _jvm(self) -> Any:
        return self.spark.sparkContext._jvm

    def _stamped(self, table: Table, rows: DataFrame) -> DataFrame:
        return rows.withColumns({name: F.lit(value) for name, value in self._stamps(table, rows.columns).items()})

    def _stamps(self, table: Table, given: Sequence[str]) -> dict[str, object]:
        """Values of the columns that the rows of a table do not bring themselves; the date is always ours."""
        stamps: dict[str, object] = {"dt": self.dt} if table.partitioned_by_date else {}
        for name in STAMPS[1:]:
            if self.versions is not None and name in table.schema.names and name not in given:
                stamps[name] = getattr(self.versions, name)
        return stamps

    def _part(self, table: Table) -> Column:
        return F.col("dt") == F.lit(self.dt) if table.partitioned_by_date else F.lit(True)

    def _overwrite(self, table: Table, reference: str, rows: DataFrame, base: int | None) -> None:
        target = self.full_name(table) if reference == "main" else f"{self.full_name(table)}.`branch_{reference}`"
        rows = with_foreign_columns(rows, table, self.columns(table))
        options = {} if table.partitioned_by_date else FILE_SIZE
        overwrite(target, rows, self._part(table), base, snapshot_properties(self, table), options)

    def _ensure_branch(self, table: Table) -> None:
        """Part of each write: who completes the last publication of this date may drop the branch at any moment."""
        if self.branch not in (references := self.references(table)):
            # A whole snapshot starts from this date's own, where it is published and kept.
            own, iceberg = None if table.partitioned_by_date else self.snapshot_id(table), self.iceberg(table)
            first = own if own is not None and iceberg.snapshot(own) is not None else references.get("main")
            iceberg.manageSnapshots().createBranch(self.branch, *([] if first is None else [first])).commit()


def _is_upkeep(snapshot: Any) -> bool:
    """Whether a snapshot, a Java object, changes nothing that readers of a publication see."""
    return snapshot.operation() == "replace" or snapshot.summary().get(UPKEEP_PROPERTY) is not None
