"""How an audit is published: one row in ``audits`` shows all its tables at once, or none.

1. Each branch of the audit is brought up to what readers see. No reader looks there.
2. The row is added to ``audits``, with the snapshot of each table. From then on readers see the audit.
3. The snapshots get their tag, and main of each table follows, for engines that know nothing of ``audits``.
4. The branches go. Those of tables that several models share stay until the upkeep removes them: audits of other models
   may be reading them.

A run that ends between 1 and 2 leaves readers on the audit before. One that ends after 2 is completed by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import partial
from typing import Any

from pyspark.sql import functions as F

from recsae_lib.errors import PassingError
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse.fencing import snapshot_properties
from recsae_lib.platform.warehouse.publications import Publication, last_of_each_date, publications
from recsae_lib.platform.warehouse.raw_history import same_rows
from recsae_lib.platform.warehouse.references import tagged_date
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_ATTEMPTS, AUDIT_TABLES, AUDITS, Table

TRIES = 20  # where audits of other dates are published at the same moment


@dataclass(frozen=True)
class Origin:
    """Where an audit comes from.

    Parameters
    ----------
    model_version, sae_version : in the registry.
    started_at : when its first job started.
    config_digest, code_version : of its jobs (`RunRecord`).
    """

    model_version: int
    sae_version: int
    started_at: datetime
    config_digest: str
    code_version: str


def unpublished_tables(warehouse: Warehouse) -> list[Table]:
    """Tables with a branch of this audit that holds something else than what was published last for its date."""
    published = last_of_each_date(publications(warehouse)).get(warehouse.dt)
    snapshots = {} if published is None else published.snapshots

    def has_news(table: Table) -> bool:
        head, known = warehouse.references(table).get(warehouse.branch), snapshots.get(table.name)
        if head is None or head == known:
            return False
        # What models share is written anew at each start, mostly with the same rows.
        return known is None or table.scope == "audit" or not _same_part(warehouse, table, head, known)

    return [table for table, news in zip(AUDIT_TABLES, side_by_side(has_news, AUDIT_TABLES), strict=True) if news]


def publish_tables(warehouse: Warehouse, origin: Origin) -> Publication:
    """Publish the audit of a date: all its tables, or none.

    Raises
    ------
    PassingError : others publish all the time.
    """
    warehouse.ensure(AUDITS)
    for _ in range(TRIES):
        seen = warehouse.references(AUDITS).get("main")
        found = publications(warehouse, seen)
        _complete(warehouse, found)
        heads = side_by_side(partial(_stage, warehouse, found), AUDIT_TABLES)
        snapshots = {table.name: head for table, head in zip(AUDIT_TABLES, heads, strict=True) if head is not None}
        publication = Publication(
            found[-1].number + 1 if found else 1,
            warehouse.dt,
            origin.model_version,
            origin.sae_version,
            datetime.now(timezone.utc),
            snapshots,
        )
        if _commit(warehouse, publication, origin, seen):
            _complete(warehouse, [publication])
            return publication
    raise PassingError(f"Other audits of {warehouse.namespaces['audit']} are published all the time", "Start again")


def complete_publications(warehouse: Warehouse) -> None:
    """Complete the last publication of the namespace, where the run that published it has ended too early."""
    _complete(warehouse, publications(warehouse))


def record_refusal(warehouse: Warehouse, origin: Origin) -> None:
    """Add the row of an audit that its checks refused to ``audit_attempts``."""
    row = (
        *("failed", None, origin.model_version, origin.sae_version, origin.started_at, datetime.now(timezone.utc)),
        *(origin.config_digest, origin.code_version),
    )
    warehouse.merge(AUDIT_ATTEMPTS, warehouse.spark.createDataFrame([row], AUDIT_ATTEMPTS.versioned_row_schema))


def _record_publication(warehouse: Warehouse, publication: Publication) -> None:
    """Add the row of a publication to ``audit_attempts``, where it is missing."""
    of_number = F.col("publication") == publication.number
    if warehouse.read_all(AUDIT_ATTEMPTS).where(of_number).isEmpty():
        rows = warehouse.read_all(AUDITS).where(of_number).withColumn("status", F.lit("published"))
        warehouse.merge(AUDIT_ATTEMPTS, rows.select(AUDIT_ATTEMPTS.versioned_row_schema.names))


def _same_part(warehouse: Warehouse, table: Table, one: int, other: int) -> bool:
    """Whether two snapshots of a table hold the same rows of the audit."""
    found, known = (warehouse.read_snapshot(table, snapshot) for snapshot in (one, other))
    if found is None or known is None:
        return False
    of_date = F.col("dt") == F.lit(warehouse.dt) if table.partitioned_by_date else F.lit(True)
    return same_rows(found.where(of_date), known.where(of_date))


def _stage(warehouse: Warehouse, found: list[Publication], table: Table) -> int | None:
    """The snapshot that is to be published: what the audit wrote, on top of what readers see; else just that."""
    kept = last_of_each_date(found)
    published, latest = kept.get(warehouse.dt), max(kept.values(), key=lambda audit: audit.number, default=None)

    def stage() -> int | None:
        references = warehouse.references(table)
        head, base = references.get(warehouse.branch), references.get("main")
        if not table.partitioned_by_date:  # each snapshot is the whole table
            known = None if published is None else published.snapshots.get(table.name)
            return next((snapshot for snapshot in (head, known, base) if snapshot is not None), None)
        is_shared = table.scope != "audit"
        if is_shared and latest is not None:  # main has what audits of other models have written for the same dates
            base = latest.snapshots.get(table.name, base)
        if head is None or base is None or head == base:
            return base if head is None else head
        if not is_shared and _descends(warehouse, table, head, base):
            return head
        removed = min(kept) if is_shared and kept and not all(audit.kept for audit in found) else None
        return _rebase(warehouse, table, head, base, removed)

    return warehouse.change(table, stage)


def _rebase(warehouse: Warehouse, table: Table, head: int, base: int, first: date | None) -> int:
    """Let the audit's branch be another snapshot with the audit's part of the table, in one commit; no data are copied.

    Parameters
    ----------
    head : snapshot with the audit's part.
    first : date before which rows leave, since the upkeep removes them from main alone; None if none do.
    """
    jvm: Any = warehouse.spark.sparkContext._jvm
    transaction = warehouse.iceberg(table).newTransaction()
    transaction.manageSnapshots().replaceBranch(warehouse.branch, base).commit()
    if first is not None:
        old = jvm.org.apache.iceberg.expressions.Expressions.lessThan("dt", first.isoformat())
        transaction.newDelete().deleteFromRowFilter(old).toBranch(warehouse.branch).commit()
    _part_of(warehouse, table, transaction.newOverwrite(), head).toBranch(warehouse.branch).commit()
    transaction.commitTransaction()
    return warehouse.references(table)[warehouse.branch]


def _part_of(warehouse: Warehouse, table: Table, overwrite: Any, snapshot: int) -> Any:
    """Have an overwrite replace the audit's part of a table by the data files that it has in a snapshot."""
    jvm: Any = warehouse.spark.sparkContext._jvm
    part = jvm.org.apache.iceberg.expressions.Expressions.equal("dt", warehouse.dt.isoformat())
    overwrite = overwrite.overwriteByRowFilter(part)
    for name, value in snapshot_properties(warehouse, table).items():
        overwrite = overwrite.set(name, value)
    files = warehouse.iceberg(table).newScan().useSnapshot(snapshot).filter(part).planFiles()
    try:
        tasks = files.iterator()
        while tasks.hasNext():
            overwrite = overwrite.addFile(tasks.next().file())
    finally:
        files.close()
    return overwrite


def _commit(warehouse: Warehouse, publication: Publication, origin: Origin, seen: int | None) -> bool:
    """Add the row to ``audits``; False where another one came after `seen`, the head of main when it was made."""
    row = (
        *(publication.number, publication.model_version, publication.sae_version, origin.started_at),
        *(publication.finished_at, origin.config_digest, origin.code_version, publication.snapshots, True),
    )
    rows = warehouse.spark.createDataFrame([row], AUDITS.versioned_row_schema)
    rows = rows.select(F.lit(warehouse.dt).alias("dt"), "*")
    branch = f"publish-{warehouse.dt.isoformat()}"

    def begin() -> None:
        changes = warehouse.iceberg(AUDITS).manageSnapshots()
        if branch in warehouse.references(AUDITS):
            changes = changes.removeBranch(branch)
        changes.createBranch(branch, *([] if seen is None else [seen])).commit()

    def forward() -> bool:
        if warehouse.references(AUDITS).get("main") != seen:
            return False
        warehouse.iceberg(AUDITS).manageSnapshots().fastForwardBranch("main", branch).removeBranch(branch).commit()
        return True

    warehouse.change(AUDITS, begin)
    write = rows.writeTo(f"{warehouse.full_name(AUDITS)}.`branch_{branch}`").option("check-nullability", "false")
    warehouse.change(AUDITS, write.append)
    return warehouse.change(AUDITS, forward)


def _complete(warehouse: Warehouse, found: list[Publication]) -> None:
    """Tag the snapshots of the last publication, have main follow, list its attempt, drop its branches. Doing it again
    changes nothing.

    Those before it are complete: nothing is published before.
    """
    if not found or not found[-1].kept:
        return
    publication, at_its_date = found[-1], warehouse.at(found[-1].dt)
    written = [table for table in AUDIT_TABLES if table.name in publication.snapshots]
    side_by_side(lambda table: _settle(at_its_date, table, publication), written)
    _record_publication(at_its_date, publication)
    side_by_side(lambda table: _drop_published(at_its_date, table, publication), written)


def _settle(warehouse: Warehouse, table: Table, publication: Publication) -> None:
    """Tag the snapshot of a table and have main follow it."""
    tag, snapshot = publication.tag(warehouse.namespaces["audit"]), publication.snapshots[table.name]

    def settle() -> None:
        iceberg, references = warehouse.iceberg(table), warehouse.references(table)
        if tag in references or iceberg.snapshot(snapshot) is None:  # or the upkeep has removed what is raw
            return
        transaction, main = iceberg.newTransaction(), references.get("main")
        if not table.partitioned_by_date:  # main keeps the newest date
            follows = all(dt <= warehouse.dt for dt in map(tagged_date, references) if dt is not None)
        else:
            follows = main is None or _descends(warehouse, table, snapshot, main)
            if not follows and not _descends(warehouse, table, main, snapshot):
                _part_of(warehouse, table, transaction.newOverwrite(), snapshot).commit()
        # In the same commit: who completes late what another run has completed brings nothing back.
        changes = transaction.manageSnapshots().createTag(tag, snapshot)
        (changes.setCurrentSnapshot(snapshot) if follows and main != snapshot else changes).commit()
        transaction.commitTransaction()

    warehouse.change(table, settle)


def _drop_published(warehouse: Warehouse, table: Table, publication: Publication) -> None:
    """Drop the branch of a table that no other audit reads, unless the next run of the date has written to it."""

    def drop() -> None:
        published = warehouse.references(table).get(warehouse.branch) == publication.snapshots[table.name]
        if published and table.scope == "audit":
            warehouse.iceberg(table).manageSnapshots().removeBranch(warehouse.branch).commit()

    warehouse.change(table, drop)


def _descends(warehouse: Warehouse, table: Table, snapshot: int | None, ancestor: int) -> bool:
    jvm: Any = warehouse.spark.sparkContext._jvm
    iceberg = warehouse.iceberg(table)
    return bool(jvm.org.apache.iceberg.util.SnapshotUtil.isAncestorOf(iceberg, snapshot, ancestor))
