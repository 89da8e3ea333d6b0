"""Reading and replacing table partitions on Iceberg, every audit on a branch of its own until it is published."""

from __future__ import annotations

import hashlib
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
from recsae_lib.platform.warehouse.commits import Answer, change, create
from recsae_lib.platform.warehouse.data_files import BatchesOf, Part, commit_data_files, write_data_files
from recsae_lib.platform.warehouse.publications import last_of_each_date, publications
from recsae_lib.platform.warehouse.read_point import ReadPoint, read_point_of
from recsae_lib.platform.warehouse.schemas import (
    column_clause,
    conform,
    in_present_form,
    later_columns,
    quoted,
    refuse_discrepancies,
    refuse_outdated,
)
from recsae_lib.platform.warehouse.tables import INTERACTIONS, ITEMS, STAMPS, Table, history

# Properties of a snapshot's summary: which audit wrote it; whether the upkeep did.
AUDIT_PROPERTY, UPKEEP_PROPERTY = "recsae-audit", "recsae-upkeep"


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
    """

    spark: SparkSession
    catalog: str
    namespaces: Mapping[Scope, str]
    dt: date
    versions: Versions | None = None

    def at(self, dt: date) -> Warehouse:
        """The same tables, as the audit of another date sees them."""
        return Warehouse(self.spark, self.catalog, self.namespaces, dt)

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
        # By Iceberg's own interface: as a query of the table of references it is a Spark job, and every read asks.
        return {name: reference.snapshotId() for name, reference in self.iceberg(table).refs().items()}

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
            raise InputError(
                f"Table {self.full_name(table)} does not exist or was never written",
                f"Run {table.writer_in_words} first",
            )
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
        rows = in_present_form(table, rows)
        refuse_discrepancies(table, rows.schema, "The columns in the warehouse")
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
        is one commit: readers see all of it or nothing.

        Raises
        ------
        InputError : the rows do not fit the declaration.
        """
        fitting = conform(table, self._stamped(table, rows))
        self.ensure(table)
        self._ensure_branch(table)
        self.change(table, lambda: self._overwrite(table, self.branch, fitting))
        # What this commit added is the whole part, and Iceberg has counted it.
        return int(self.iceberg(table).snapshot(self.branch).summary().get("added-records") or 0)

    def replace_by_files(self, table: Table, parts: Sequence[Part], batches_of: BatchesOf[Part]) -> int:
        """Like `replace`, of rows that Python workers make and write themselves, one file for each part.

        Parameters
        ----------
        parts, batches_of : see `write_data_files`; `STAMPS` are filled in.
        """
        self.ensure(table)
        self._ensure_branch(table)
        iceberg, partition = self.iceberg(table), f"dt={self.dt.isoformat()}"
        stamps = self._stamps(table, ())
        files = write_data_files(self.spark, table, iceberg, partition, parts, batches_of, stamps)
        self.change(table, lambda: commit_data_files(self.spark, self.iceberg(table), self.branch, partition, files))
        rows = sum(file.rows for file in files)
        count_written(rows, sum(file.bytes for file in files))
        return rows

    def replace_published(self, table: Table, rows: DataFrame) -> None:
        """Replace this date's part of a table that is published directly, such as ratings, which come when the audit
        has long been published.
        """
        self.ensure(table)
        fitting = conform(table, self._stamped(table, rows))
        self.change(table, lambda: self._overwrite(table, "main", fitting))

    def merge(self, table: Table, rows: DataFrame) -> None:
        """Bring rows into a table that is published directly; they replace those of the same key."""
        self.ensure(table)
        fitting = conform(table, self._stamped(table, rows))
        condition = " AND ".join(f"target.{name} <=> source.{name}" for name in table.key)
        statement = (
            f"MERGE INTO {self.full_name(table)} AS target USING {{source}} AS source ON {condition} "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )
        self.change(table, lambda: self.spark.sql(statement, source=fitting))

    def ensure(self, table: Table) -> None:
        """Create namespace and table where they are missing, with the declared comments.

        Raises
        ------
        InputError : the table was written by an earlier version, or its columns differ from the declaration.
        """
        if self.exists(table):
            refuse_outdated([self.full_name(table)] if self.is_outdated(table) else [])
            refuse_discrepancies(table, self.columns(table), "The columns in the warehouse")
            return
        columns = ", ".join(column_clause(field, field.nullable) for field in table.schema.fields)
        partitioning = "PARTITIONED BY (dt)" if table.partitioned_by_date else ""
        # One write touches one dt: Iceberg's default, a shuffle by partition, would send every row to one task.
        properties = (
            "TBLPROPERTIES ('format-version'='2', 'write.distribution-mode'='none', "
            f"'{history.SCHEMA_PROPERTY}'='{len(history.MIGRATIONS)}')"
        )
        namespace = f"{self.catalog}.{self._namespace(table)}"
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self.full_name(table)} ({columns}) USING iceberg {partitioning} "
            f"COMMENT {quoted(table.comment)} {properties}"
        )
        known = self.spark.catalog
        create(self.spark, f"CREATE NAMESPACE IF NOT EXISTS {namespace}", lambda: known.databaseExists(namespace))
        self.change(table, lambda: create(self.spark, statement, lambda: self.exists(table)))

    def columns(self, table: Table) -> T.StructType:
        """Columns that a table has on its branches; a tag has those of its time."""
        spark_schemas = self._jvm.org.apache.iceberg.spark.SparkSchemaUtil
        return T.StructType.fromJson(json.loads(spark_schemas.convert(self.iceberg(table).schema()).json()))

    def migrations(self, table: Table) -> list[history.Migration]:
        """What a table that exists has not behind it yet."""
        done = self.iceberg(table).properties().getOrDefault(history.SCHEMA_PROPERTY, "0")
        return history.migrations_of(table, int(done))

    def is_outdated(self, table: Table) -> bool:
        """Whether a table that exists was written by an earlier version, and has not been migrated."""
        return bool(self.migrations(table) or later_columns(table, self.columns(table)))

    def data_digest(self) -> str:
        """Digest of the contents of interactions and items, whatever the order of their rows: count, sum and
        exclusive-or of a 64-bit hash of each row.
        """
        parts = []
        for table in (INTERACTIONS, ITEMS):
            row_hash = F.xxhash64(*table.schema.names)
            row = (
                self.read(table)
                .agg(
                    F.count(F.lit(1)).alias("rows"),
                    F.sum(row_hash.cast("decimal(38,0)")).alias("sum"),
                    F.bit_xor(row_hash).alias("xor"),
                )
                .first()
            )
            parts.append(str(row))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def drop_branch(self, table: Table) -> None:
        """Drop the audit's branch of a table, if there is one."""

        def drop() -> None:
            if self.branch in self.references(table):
                self.iceberg(table).manageSnapshots().removeBranch(self.branch).commit()

        self.change(table, drop)

    def change(self, table: Table, action: Callable[[], Answer]) -> Answer:
        """Do what ends in a commit to a table, while others commit to it too (`commits.change`)."""
        return change(self.spark, self.catalog, self._namespace(table), table.name, action)

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

    def _overwrite(self, table: Table, reference: str, rows: DataFrame) -> None:
        target = self.full_name(table) if reference == "main" else f"{self.full_name(table)}.`branch_{reference}`"
        # `conform` checks the values; Spark's own check would refuse a nullable type whose values are all there.
        write = rows.writeTo(target).option("check-nullability", "false")
        write.option(f"snapshot-property.{AUDIT_PROPERTY}", self.branch).overwrite(self._part(table))

    def _ensure_branch(self, table: Table) -> None:
        def create_branch() -> None:
            if self.branch not in (references := self.references(table)):
                start = [references["main"]] if "main" in references else []
                self.iceberg(table).manageSnapshots().createBranch(self.branch, *start).commit()

        self.change(table, create_branch)


def _is_upkeep(snapshot: Any) -> bool:
    """Whether a snapshot, a Java object, changes nothing that readers of a publication see."""
    return snapshot.operation() == "replace" or snapshot.summary().get(UPKEEP_PROPERTY) is not None
