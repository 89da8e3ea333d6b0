"""The list of audits of release 0.2, a row a night, becomes the list of publications and the list of attempts.

Of then: ``audits`` has one row a date, ``published`` or ``failed``, and each table of the audit has a tag
``published-<dt>`` on the snapshot that brought the date to main. A row ``failed`` may have taken the place of one of a
date that people still read: such a date has its tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.references import publication_tag
from recsae_lib.platform.warehouse.schemas import add_columns
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_ATTEMPTS, AUDIT_TABLES, AUDITS

UNKNOWN = "unknown"  # digest and code of a publication whose row was replaced


@dataclass(frozen=True)
class _Earlier:
    """A publication of release 0.2.

    Parameters
    ----------
    finished_at : as the rows of the table have it, without a time zone.
    row : of its attempt; None where the row of a later attempt took its place.
    snapshots : of the tags, by table.
    """

    dt: date
    finished_at: datetime
    row: Row | None
    snapshots: dict[str, int]


def separate_publications(warehouse: Warehouse) -> Iterator[str]:
    """Make publications and attempts of the rows of ``audits``; yields a line for each thing that was done.

    Each step is one commit, and does nothing where it was done: attempts, tags, columns, rows, the end of the column
    ``status``. Nothing is removed but that column: a kill is followed by another run. The tags of release 0.2 stay,
    since other models may share the tables; upkeep removes them with their dates.
    """
    name = warehouse.full_name(AUDITS)
    if "status" not in warehouse.columns(AUDITS).names:
        return
    if "publication" in warehouse.columns(AUDITS).names and not _old_rows(warehouse):
        yield from _drop_status(warehouse)
        return
    rows = _old_rows(warehouse)
    earlier = _earlier_publications(warehouse, rows)
    numbers = {publication.dt: number for number, publication in enumerate(earlier, start=1)}  # the last of a date
    if attempts := _add_attempts(warehouse, rows, numbers):
        yield f"{warehouse.full_name(AUDIT_ATTEMPTS)}: {attempts} attempts of {name}"
    tagged = sum(_tag(warehouse, publication, number) for number, publication in enumerate(earlier, start=1))
    if tagged:
        yield f"{name}: {tagged} snapshots of publications have their tags"
    if added := _add_publication_columns(warehouse):
        yield f"{name}: added {', '.join(added)}"
    _replace_rows(warehouse, earlier)
    yield f"{name}: {len(earlier)} publications in place of {len(rows)} rows"
    yield from _drop_status(warehouse)


def _old_rows(warehouse: Warehouse) -> list[Row]:
    rows = warehouse.spark.read.option("branch", "main").table(warehouse.full_name(AUDITS))
    return rows.where("status IS NOT NULL").orderBy("dt").collect()  # a row a night


def _earlier_publications(warehouse: Warehouse, rows: list[Row]) -> list[_Earlier]:
    """What has been published, in the order in which it was."""
    published = {row["dt"]: row for row in rows if row["status"] == "published"}
    replaced = {row["dt"] for row in rows} - published.keys()
    found = []
    for dt in sorted(published.keys() | replaced):
        snapshots = _tagged_snapshots(warehouse, dt)
        if dt in published:
            found.append(_Earlier(dt, published[dt]["finished_at"], published[dt], snapshots))
        elif snapshots and _is_whole(warehouse, snapshots):
            found.append(_Earlier(dt, _local(max(_times(warehouse, snapshots))), None, snapshots))
    # As they came to main; what has no tag any more goes by its row.
    found.sort(
        key=lambda earlier: (
            _local(max(_times(warehouse, earlier.snapshots))) if earlier.snapshots else earlier.finished_at
        )
    )
    found = _with_replaced(warehouse, found)
    if found:  # people read what main holds: with it, what was merged or migrated since
        found[-1].snapshots.update(_heads(warehouse, found[-1].snapshots))
    return found


def _with_replaced(warehouse: Warehouse, found: list[_Earlier]) -> list[_Earlier]:
    """Put back what a later publication of the same date replaced, where one in between still shows it: that is at the
    latest when it was published, and its rows are there.
    """
    listed: list[_Earlier] = []
    for number, shown in enumerate(found):
        known = {publication.dt for publication in listed}
        for later in found[number + 1 :]:
            if later.dt < shown.dt and later.dt not in known and _shows(warehouse, shown.snapshots, later.dt):
                listed.append(_Earlier(later.dt, shown.finished_at, None, dict(shown.snapshots)))
        listed.append(shown)
    return listed


def _shows(warehouse: Warehouse, snapshots: Mapping[str, int], dt: date) -> bool:
    """Whether one of the tables of the audit itself holds rows of a date."""
    for table in AUDIT_TABLES:
        if table.scope == "audit" and table.name in snapshots:
            rows = warehouse.spark.read.option("snapshot-id", snapshots[table.name]).table(warehouse.full_name(table))
            if not rows.where(F.col("dt") == F.lit(dt)).isEmpty():
                return True
    return False


def _tagged_snapshots(warehouse: Warehouse, dt: date) -> dict[str, int]:
    tag = f"published-{dt.isoformat()}"
    references = {table.name: warehouse.references(table) for table in AUDIT_TABLES}
    return {name: found[tag] for name, found in references.items() if tag in found}


def _heads(warehouse: Warehouse, names: Mapping[str, int]) -> dict[str, int]:
    dated = [tables.TABLES[name] for name in names if tables.TABLES[name].partitioned_by_date]
    return {table.name: warehouse.references(table)["main"] for table in dated}


def _is_whole(warehouse: Warehouse, snapshots: Mapping[str, int]) -> bool:
    """Whether a publication of which there is no row came to its end: no table of that time is without its tag."""
    end = max(_times(warehouse, snapshots))
    for table in AUDIT_TABLES:
        if table.name not in snapshots and warehouse.references(table):
            times = [snapshot.timestampMillis() for snapshot in warehouse.iceberg(table).snapshots()]
            if times and min(times) < end:
                return False
    return True


def _times(warehouse: Warehouse, snapshots: Mapping[str, int]) -> list[int]:
    """When snapshots were made, in milliseconds since 1970."""
    of_tables = {name: warehouse.iceberg(tables.TABLES[name]) for name in snapshots}
    return [of_tables[name].snapshot(number).timestampMillis() for name, number in snapshots.items()]


def _local(milliseconds: int) -> datetime:
    """A moment as Spark's rows have it: in the time zone of this process, and without it."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).astimezone().replace(tzinfo=None)


def _add_attempts(warehouse: Warehouse, rows: list[Row], numbers: Mapping[date, int]) -> int:
    """Add the attempts that are not there yet; returns how many."""
    warehouse.ensure(AUDIT_ATTEMPTS)
    known = {(row["dt"], row["started_at"]) for row in warehouse.read_all(AUDIT_ATTEMPTS).collect()}  # a few a night
    names = AUDIT_ATTEMPTS.schema.names
    attempts: list[tuple[Any, ...]] = []
    for row in rows:
        if (row["dt"], row["started_at"]) not in known:
            number = numbers[row["dt"]] if row["status"] == "published" else None
            attempts.append(tuple(number if name == "publication" else row[name] for name in names))
    if attempts:
        frame = warehouse.spark.createDataFrame(attempts, AUDIT_ATTEMPTS.schema)
        warehouse.change(AUDIT_ATTEMPTS, lambda: frame.writeTo(warehouse.full_name(AUDIT_ATTEMPTS)).append())
    return len(attempts)


def _tag(warehouse: Warehouse, publication: _Earlier, number: int) -> int:
    """Tag the snapshots of a publication; returns how many had no tag."""
    tag = publication_tag(warehouse.namespaces["audit"], publication.dt, number)
    tagged = 0
    for name, snapshot in publication.snapshots.items():
        table = tables.TABLES[name]

        def create(table: tables.Table = table, snapshot: int = snapshot) -> bool:
            found = warehouse.references(table).get(tag)
            if found == snapshot:
                return False
            changes = warehouse.iceberg(table).manageSnapshots()
            (changes.createTag if found is None else changes.replaceTag)(tag, snapshot).commit()
            return True

        tagged += warehouse.change(table, create)
    return tagged


def _add_publication_columns(warehouse: Warehouse) -> list[str]:
    """Add the new columns; ``status`` may be empty from now on. Two commits."""
    found = warehouse.columns(AUDITS)

    def add() -> list[str]:
        return add_columns(
            warehouse.spark,
            warehouse.full_name(AUDITS),
            [field for field in AUDITS.schema.fields if field.name not in warehouse.columns(AUDITS).names],
        )

    if not found["status"].nullable:
        warehouse.change(AUDITS, lambda: warehouse.iceberg(AUDITS).updateSchema().makeColumnOptional("status").commit())
    return warehouse.change(AUDITS, add)


def _replace_rows(warehouse: Warehouse, earlier: list[_Earlier]) -> None:
    """Put publications in place of all rows, in one commit."""
    rows = []
    for number, publication in enumerate(earlier, start=1):
        known = publication.row or _unknown(warehouse, publication)
        own = {"publication": number, "snapshots": publication.snapshots, "kept": True}
        rows.append(tuple(own[name] if name in own else known[name] for name in AUDITS.schema.names))
    frame = warehouse.spark.createDataFrame(rows, AUDITS.schema).withColumn("status", F.lit(None).cast("string"))
    write = frame.writeTo(warehouse.full_name(AUDITS)).option("check-nullability", "false")
    warehouse.change(AUDITS, lambda: write.overwrite(F.lit(True)))


def _unknown(warehouse: Warehouse, publication: _Earlier) -> dict[str, Any]:
    """What can still be known of a publication whose row was replaced: its versions stand in its rows."""
    versions = {}
    for name in ("model_version", "sae_version"):
        versions[name] = next(
            (
                row[name]
                for table in AUDIT_TABLES
                if name in table.schema.names and table.name in publication.snapshots
                for row in warehouse.spark.read.option("snapshot-id", publication.snapshots[table.name])
                .table(warehouse.full_name(table))
                .where(F.col("dt") == publication.dt)
                .limit(1)
                .collect()
            ),
            None,
        )
    return {
        "dt": publication.dt,
        **versions,
        "started_at": publication.finished_at,
        "finished_at": publication.finished_at,
        "config_digest": UNKNOWN,
        "code_version": UNKNOWN,
    }


def _drop_status(warehouse: Warehouse) -> Iterator[str]:
    statement = f"ALTER TABLE {warehouse.full_name(AUDITS)} DROP COLUMN status"
    warehouse.change(AUDITS, lambda: warehouse.spark.sql(statement))
    yield f"{warehouse.full_name(AUDITS)}: without status, which attempts have"
