"""What readers see: whole audits, each by the snapshots that its row in ``audits`` names, however tables change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.publications import Publication, last_of_each_date, publications
from recsae_lib.platform.warehouse.tables import Table

if TYPE_CHECKING:
    from recsae_lib.platform.warehouse.store import Warehouse

AsOf = date | datetime


@dataclass(frozen=True)
class ReadPoint:
    """Which publications readers see.

    Parameters
    ----------
    latest : the last one: its snapshots hold the rows of all dates. None where nothing is published.
    newest : the last one of the newest date, whose interactions and items readers see.
    dates : of the audits that they see, newest first.
    removed : dates of audits that the tables no longer hold, though their rows may still be there.
    until : rows of tables that are published directly are shown up to this date; None for all.
    is_now : whether it is what readers see now, so that what the upkeep has merged since is read merged.
    """

    latest: Publication | None
    newest: Publication | None
    dates: tuple[date, ...]
    removed: tuple[date, ...] = ()
    until: date | None = None
    is_now: bool = False

    def publication_of(self, table: Table) -> Publication | None:
        """The publication by whose snapshot a table is read."""
        return self.latest if table.partitioned_by_date else self.newest

    def read(self, warehouse: Warehouse, table: Table) -> DataFrame:
        """Rows of a table, of all dates that are seen; none where it does not exist.

        Raises
        ------
        InputError : the upkeep has removed the snapshot.
        """
        if table.published_by == "directly":
            rows = warehouse.read_all(table)
            dated = self.until is not None and table.partitioned_by_date
            return rows.where(F.col("dt") <= F.lit(self.until)) if dated else rows
        snapshot = self.snapshot_of(warehouse, table)
        if snapshot is None:
            return warehouse.spark.createDataFrame([], table.schema)
        found = warehouse.read_snapshot(table, snapshot)
        if found is None:
            publication = self.publication_of(table)
            of_audit = "" if publication is None else f" of {publication.dt}"
            raise InputError(
                f"Table {warehouse.full_name(table)} no longer holds what the audit{of_audit} has read",
                "maintenance.keep_nights and keep_raw_nights say how long it is kept; ask for a newer date",
            )
        return found.where(self._seen(table)) if table.partitioned_by_date else found

    def _seen(self, table: Table) -> Column:
        """Which rows of a table with ``dt`` are seen."""
        dt = F.col("dt")
        if table.scope != "audit":  # audits of other models, for dates of their own, share it
            return dt.isin(list(self.dates))
        # It holds no dates but those that were published: with thousands of nights a list would cost planning.
        first, last = min(self.dates), max(self.dates)
        gaps = [removed for removed in self.removed if first < removed < last]
        return dt.between(F.lit(first), F.lit(last)) & ~dt.isin(gaps) if gaps else dt.between(F.lit(first), F.lit(last))

    def snapshot_of(self, warehouse: Warehouse, table: Table) -> int | None:
        """The snapshot by which a table is read that is published with its audit; None where it has no rows to see."""
        publication = self.publication_of(table)
        snapshot = None if publication is None else publication.snapshots.get(table.name)
        if snapshot is None or not warehouse.exists(table):
            return None
        return warehouse.merged_snapshot(table, snapshot) if self.is_now else snapshot


def read_point(found: Sequence[Publication]) -> ReadPoint:
    """What readers see now.

    Parameters
    ----------
    found : all publications, by their number.
    """
    last = last_of_each_date(found)
    latest = max(last.values(), key=lambda publication: publication.number, default=None)
    return ReadPoint(latest, next(iter(last.values()), None), tuple(last), _removed(found), is_now=True)


def read_point_of(found: Sequence[Publication], dt: date) -> ReadPoint:
    """The audit of one date alone, as it was published last."""
    last = last_of_each_date(found).get(dt)
    return ReadPoint(last, last, (dt,))


def read_point_as_of(found: Sequence[Publication], as_of: AsOf) -> ReadPoint:
    """What readers saw earlier.

    Parameters
    ----------
    found : all publications, by their number.
    as_of : a date: what the newest audit up to this date left when it was published last. Or a moment (UTC): what was
        published by then.
    """
    if isinstance(as_of, datetime):
        then = [publication for publication in found if publication.finished_at <= as_of]
        point = read_point(then)
        return ReadPoint(point.latest, point.newest, point.dates, point.removed, until=as_of.date())
    newest = next((p for dt, p in last_of_each_date(found).items() if dt <= as_of), None)
    if newest is None:
        return ReadPoint(None, None, (), until=as_of)
    seen = last_of_each_date(p for p in found if p.number <= newest.number and p.dt <= as_of)
    return ReadPoint(newest, newest, tuple(seen), _removed(found), until=as_of)


def _removed(found: Sequence[Publication]) -> tuple[date, ...]:
    return tuple({publication.dt for publication in found} - set(last_of_each_date(found)))


def as_published(warehouse: Warehouse, as_of: AsOf | None = None) -> ReadPoint:
    """Look up what readers of the namespace see now, or saw as of a date or moment."""
    found = publications(warehouse)
    return read_point(found) if as_of is None else read_point_as_of(found, as_of)
