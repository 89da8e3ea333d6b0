"""Upkeep of the tables: what no reader needs any more goes, small files become few (Iceberg's own procedures)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from recsae_lib.platform.warehouse.raw_retention import merge_small_files
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import Table

NIGHT = re.compile(r"^(audit|published)-(\d{4}-\d{2}-\d{2})$")  # branch of an audit; tag of a published one
ORPHAN_AGE = timedelta(days=3)  # a file that is younger may belong to a commit under way


@dataclass(frozen=True)
class TableState:
    """What planning a query of a table reads.

    Parameters
    ----------
    files, bytes : data files of main and their size.
    manifests : of main.
    snapshots : that the metadata names.
    """

    files: int
    bytes: int
    manifests: int
    snapshots: int


@dataclass(frozen=True)
class Retention:
    """What is kept, counted back from a date.

    Parameters
    ----------
    first_night : audits of earlier dates leave the tables that audits publish, with their branches and tags
        ``published-<dt>``.
    first_snapshot : moment before which snapshots go that no branch and no tag holds.
    """

    first_night: date
    first_snapshot: datetime

    @classmethod
    def until(cls, dt: date, keep_nights: int, keep_snapshot_days: int) -> Retention:
        """Count back from an audit of `dt`, and from now."""
        now = datetime.now(timezone.utc)
        return cls(dt - timedelta(days=keep_nights - 1), now - timedelta(days=keep_snapshot_days))


def expired_references(references: Iterable[str], first_night: date) -> list[str]:
    """Branches and tags of audits before `first_night`. Those with names of another form are people's, and stay."""
    return [
        name
        for name in references
        if (match := NIGHT.match(name)) is not None and date.fromisoformat(match[2]) < first_night
    ]


def is_branch_of_night(name: str) -> bool:
    """Whether a reference of this name is main or the branch of an audit."""
    return name == "main" or (name.startswith("audit-") and NIGHT.match(name) is not None)


def state_of(warehouse: Warehouse, table: Table) -> TableState:
    """Look at a table that exists."""
    name = warehouse.full_name(table)

    def number(query: str) -> int:
        row = warehouse.spark.sql(query).first()
        assert row is not None
        return int(row[0])

    return TableState(
        number(f"SELECT count(*) FROM {name}.files"),
        number(f"SELECT coalesce(sum(file_size_in_bytes), 0) FROM {name}.files"),
        number(f"SELECT count(*) FROM {name}.manifests"),
        number(f"SELECT count(*) FROM {name}.snapshots"),
    )


def maintain_table(warehouse: Warehouse, table: Table, retention: Retention) -> None:
    """Drop old audits, merge small files, expire snapshots, remove files that no snapshot knows.

    What was published directly stays whatever its date: the list of audits, what people said, comparisons.

    Each part is a commit of its own, and any of them done twice changes nothing: a kill is followed by another run.
    Readers and audits under way go on; a commit that meets one of theirs is tried again.
    """
    name, spark = warehouse.full_name(table), warehouse.spark
    of_catalog = name.removeprefix(f"{warehouse.catalog}.")

    def call(procedure: str, *arguments: str) -> None:
        listed = ", ".join((f"table => {of_catalog!r}", *arguments))
        change(f"CALL {warehouse.catalog}.system.{procedure}({listed})")

    def change(statement: str) -> None:
        warehouse.change(table, lambda: spark.sql(statement))

    # Every commit writes a file of metadata anew; the tables of earlier releases kept them all.
    change(
        f"ALTER TABLE {name} SET TBLPROPERTIES ('write.metadata.delete-after-commit.enabled'='true', "
        "'write.metadata.previous-versions-max'='20')"
    )
    for reference in expired_references(warehouse.references(table), retention.first_night):
        kind = "BRANCH" if reference.startswith("audit-") else "TAG"
        change(f"ALTER TABLE {name} DROP {kind} IF EXISTS `{reference}`")
    if "main" in warehouse.references(table):
        if table.partitioned_by_date and table.published_by == "audit":
            change(f"DELETE FROM {name} WHERE dt < DATE '{retention.first_night.isoformat()}'")
        merge_small_files(warehouse, table)
        call("rewrite_manifests")
    call("expire_snapshots", f"older_than => {_timestamp(retention.first_snapshot)}", "retain_last => 1")
    call("remove_orphan_files", f"older_than => {_timestamp(datetime.now(timezone.utc) - ORPHAN_AGE)}")


def _timestamp(moment: datetime) -> str:
    """As SQL, in UTC, which is the time zone of every session (conf/spark)."""
    return f"TIMESTAMP '{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}'"
