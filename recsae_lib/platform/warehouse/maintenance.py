"""Upkeep of the tables: what no reader needs any more goes, small files become few (Iceberg's own procedures).

What leaves is marked first: `retire` says in ``audits`` that publications are no longer kept, in one commit from which
on nobody reads them. Then their rows and tags go, table by table. Nothing leaves of a night that a run holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from recsae_lib.platform.warehouse.nights import Nights
from recsae_lib.platform.warehouse.publications import Publication, publications
from recsae_lib.platform.warehouse.raw_retention import merge_small_files
from recsae_lib.platform.warehouse.references import branch_date, earlier_tagged_date, tagged_publication
from recsae_lib.platform.warehouse.store import UPKEEP_PROPERTY, Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_TABLES, AUDITS, Table

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

    def since(self, before: TableState) -> str:
        """Say what has changed."""
        counts = ("files", "manifests", "snapshots")
        changes = [f"{name} {getattr(before, name)} to {getattr(self, name)}" for name in counts]
        return f"{', '.join(changes)}, {self.bytes:,} bytes"


@dataclass(frozen=True)
class Retention:
    """What is kept.

    Parameters
    ----------
    first_night : audits of earlier dates leave the tables that audits publish, with their branches and tags; None where
        nothing is published: then nothing leaves for its age.
    first_snapshot : moment before which snapshots go that no branch and no tag holds. A branch that was written to
        since then may be of a night under way, whose jobs hold no lock between them.
    """

    first_night: date | None
    first_snapshot: datetime

    @classmethod
    def until(cls, dt: date, newest: date | None, keep_nights: int, keep_snapshot_days: int) -> Retention:
        """Count nights back from an audit of `dt`, snapshots from now.

        Parameters
        ----------
        newest : date of the newest audit that is published. It is counted from where it is earlier than `dt`: neither a
            pause nor a date in the future makes an audit old.
        """
        first = None if newest is None else min(dt, newest) - timedelta(days=keep_nights - 1)
        return cls(first, datetime.now(timezone.utc) - timedelta(days=keep_snapshot_days))


def newest_date(found: Iterable[Publication]) -> date | None:
    """The newest date that is published and kept; None where nothing is."""
    return max((publication.dt for publication in found if publication.kept), default=None)


def retire(
    warehouse: Warehouse, retention: Retention, nights: Nights, compared: date | int | None = None
) -> list[Publication]:
    """Mark the publications that leave, in one commit; returns them.

    Not the newest one, nor the last one, whose snapshots readers see; nor what an audit under way is compared with.

    Parameters
    ----------
    compared : date, or SAE version, of the audit that all later ones are compared with, if the settings name one.
    """
    found = publications(warehouse)
    if not _leaving(warehouse, found, retention, compared):
        return []
    for dt in {publication.dt for publication in _leaving(warehouse, found, retention, compared)}:
        nights.take(dt)
    # Once more, since one of these nights may have been published before it was taken.
    leaving = _leaving(warehouse, publications(warehouse), retention, compared)
    leaving = [publication for publication in leaving if nights.take(publication.dt)]
    if leaving:
        numbers = ", ".join(str(publication.number) for publication in leaving)
        statement = f"UPDATE {warehouse.full_name(AUDITS)} SET kept = false WHERE publication IN ({numbers})"
        warehouse.change(AUDITS, lambda: warehouse.spark.sql(statement))
    return leaving


def _leaving(
    warehouse: Warehouse, found: Sequence[Publication], retention: Retention, compared: date | int | None
) -> list[Publication]:
    kept = [publication for publication in found if publication.kept]
    if not kept or retention.first_night is None:
        return []
    staying = {found[-1].dt, max(publication.dt for publication in kept)}
    named = [publication.dt for publication in kept if compared in (publication.dt, publication.sae_version)]
    staying |= {max(named)} if named else set()
    for dt in dates_under_way(warehouse, found):  # each is compared with the one before it
        staying |= {max((publication.dt for publication in kept if publication.dt < dt), default=dt)}
    first = retention.first_night
    return [publication for publication in kept if publication.dt < first and publication.dt not in staying]


def dates_under_way(warehouse: Warehouse, found: Iterable[Publication], since: datetime | None = None) -> set[date]:
    """Dates with a branch, of whatever table, that holds something else than what was published.

    Parameters
    ----------
    found : all publications.
    since : only of branches that were written to since this moment.
    """
    published = {(publication.dt, *snapshot) for publication in found for snapshot in publication.snapshots.items()}
    dates = set()
    for table in AUDIT_TABLES:
        for name, head in warehouse.references(table).items():
            dt = branch_date(name)
            has_news = dt is not None and (dt, table.name, head) not in published
            if dt is not None and has_news and (since is None or _time_of(warehouse, table, head) >= since):
                dates.add(dt)
    return dates


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


def maintain_table(warehouse: Warehouse, table: Table, retention: Retention, nights: Nights) -> None:
    """Drop what `retire` has marked, merge small files, expire snapshots, remove files that no snapshot knows.

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
    if table.published_by == "audit":
        drop_references(warehouse, table, retention, nights)
        if table.partitioned_by_date:
            drop_dates(warehouse, table, retention, nights)
    if "main" in warehouse.references(table):
        merge_small_files(warehouse, table)
        call("rewrite_manifests")
    call(
        "expire_snapshots",
        f"older_than => {_timestamp(first_snapshot(warehouse, table, retention))}",
        "retain_last => 1",
    )
    call("remove_orphan_files", f"older_than => {_timestamp(datetime.now(timezone.utc) - ORPHAN_AGE)}")


def first_snapshot(warehouse: Warehouse, table: Table, retention: Retention) -> datetime:
    """Moment before which snapshots may go: readers follow those of the upkeep from the last publication to main."""
    found = publications(warehouse) if table.published_by == "audit" else []
    snapshot = found[-1].snapshots.get(table.name) if found else None
    if snapshot is None or warehouse.iceberg(table).snapshot(snapshot) is None:
        return retention.first_snapshot
    return min(retention.first_snapshot, _time_of(warehouse, table, snapshot))


def drop_references(warehouse: Warehouse, table: Table, retention: Retention, nights: Nights) -> None:
    """Drop tags of publications that are not kept, and branches of nights that have ended; others are people's.

    A tag of a publication that never came to be goes too, and one of release 0.2 with its night. A branch goes when its
    night is past its retention or published, once it has not been written to for as long as snapshots are kept.
    """
    references = warehouse.iceberg(table).refs()  # before the list: a tag comes after its row
    kept = {(publication.dt, publication.number) for publication in publications(warehouse) if publication.kept}
    published, first = {dt for dt, _ in kept}, retention.first_night
    namespace = warehouse.namespaces["audit"]

    def is_over(name: str, is_branch: bool, head: int) -> bool:
        dt = branch_date(name)
        if is_branch and dt is not None:
            is_past = (first is not None and dt < first) or (dt in published and table.scope != "audit")
            is_old = is_past and _time_of(warehouse, table, head) < retention.first_snapshot
            return is_old and nights.take(dt)
        if is_branch:
            return False
        if (tagged := tagged_publication(name)) is not None:
            return tagged[0] == namespace and tagged[1:] not in kept and nights.take(tagged[1])
        dt = earlier_tagged_date(name)
        return dt is not None and first is not None and dt < first and nights.take(dt)

    for name, reference in references.items():
        head = reference.snapshotId()

        def drop(name: str = name, is_branch: bool = reference.isBranch(), head: int = head) -> None:
            if warehouse.references(table).get(name) == head:
                changes = warehouse.iceberg(table).manageSnapshots()
                (changes.removeBranch if is_branch else changes.removeTag)(name).commit()

        if is_over(name, reference.isBranch(), head):
            warehouse.change(table, drop)


def drop_dates(warehouse: Warehouse, table: Table, retention: Retention, nights: Nights) -> list[date]:
    """Remove the rows of dates that are past their retention and that no publication needs, in one commit that only
    forgets files; returns the dates.
    """
    references = warehouse.references(table)
    if retention.first_night is None or "main" not in references:
        return []
    of_main = warehouse.spark.table(f"{warehouse.full_name(table)}.partitions").select("partition.dt").distinct()
    past = {row["dt"] for row in of_main.collect() if row["dt"] < retention.first_night}  # a row a date
    # After they are taken, nobody publishes them: only now the list says for how long they are needed.
    free = {dt for dt in past if nights.take(dt)}
    dates = sorted(free - _needed(warehouse, references)) if free else []
    if dates:
        jvm: Any = warehouse.spark.sparkContext._jvm
        gateway: Any = warehouse.spark.sparkContext._gateway
        listed = gateway.new_array(jvm.Object, len(dates))
        for place, dt in enumerate(dates):
            listed[place] = dt.isoformat()
        of_dates = getattr(jvm.org.apache.iceberg.expressions.Expressions, "in")("dt", listed)
        warehouse.change(
            table,
            lambda: (
                warehouse.iceberg(table).newDelete().deleteFromRowFilter(of_dates).set(UPKEEP_PROPERTY, "true").commit()
            ),
        )
    return dates


def _needed(warehouse: Warehouse, references: Collection[str]) -> set[date]:
    """Dates of the namespace's own publications that are kept, and of those of others, which share the table."""
    own = {publication.dt for publication in publications(warehouse) if publication.kept}
    tagged = (found for name in references if (found := tagged_publication(name)) is not None)
    return own | {dt for namespace, dt, _ in tagged if namespace != warehouse.namespaces["audit"]}


def _time_of(warehouse: Warehouse, table: Table, snapshot: int) -> datetime:
    milliseconds = warehouse.iceberg(table).snapshot(snapshot).timestampMillis()
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def _timestamp(moment: datetime) -> str:
    """As SQL, in UTC, which is the time zone of every session (conf/spark)."""
    return f"TIMESTAMP '{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S.%f}'"
