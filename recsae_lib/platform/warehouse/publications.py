"""The rows of the table ``audits``: which audits have been published, and which snapshot of each table they read.

pyspark is imported where rows are read by it: `pyiceberg_rows` knows publications without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.references import publication_tag

if TYPE_CHECKING:
    from recsae_lib.platform.warehouse.store import Warehouse


# Of each table ``audits`` the snapshot that was read last, with its rows: a snapshot never changes, and each read of a
# table asks for them.
_READ_LAST: dict[str, tuple[int, tuple[Publication, ...]]] = {}


@dataclass(frozen=True)
class Publication:
    """An audit that people see, or saw.

    Parameters
    ----------
    number : from 1, in the order in which the audits of a namespace were published.
    dt : date of the audit. A night that was run again has several publications.
    model_version, sae_version : in the registry.
    finished_at : when it was published (UTC).
    snapshots : the snapshot of each table that its readers see, by the table's name.
    kept : whether the tables still hold it.
    """

    number: int
    dt: date
    model_version: int
    sae_version: int
    finished_at: datetime
    snapshots: Mapping[str, int]
    kept: bool = True

    def tag(self, namespace: str) -> str:
        """Tag of its snapshots, see `publication_tag`."""
        return publication_tag(namespace, self.dt, self.number)


def publications(warehouse: Warehouse, snapshot: int | None = None) -> list[Publication]:
    """Return all publications of the namespace by their number: a row a night, some more where nights ran again.

    Parameters
    ----------
    snapshot : of the table ``audits``; None for what main is now.
    """
    from recsae_lib.platform.warehouse.tables import AUDITS

    snapshot = warehouse.references(AUDITS).get("main") if snapshot is None else snapshot
    if snapshot is None:
        return []
    name = warehouse.full_name(AUDITS)
    known, found = _READ_LAST.get(name, (None, ()))
    if known != snapshot:
        found = _read(warehouse, snapshot)
        _READ_LAST[name] = snapshot, found
    return list(found)


def _read(warehouse: Warehouse, snapshot: int) -> tuple[Publication, ...]:
    from pyspark.sql import functions as F

    from recsae_lib.platform.warehouse.tables import AUDITS

    moment = F.unix_micros("finished_at").alias("finished_at")
    listed = warehouse.read_snapshot(AUDITS, snapshot)
    if listed is None:
        return ()
    rows = listed.select("publication", "dt", "model_version", "sae_version", moment, "snapshots", "kept")
    found = [
        Publication(number, dt, model, sae, datetime.fromtimestamp(micros / 1e6, timezone.utc), snapshots, kept)
        for number, dt, model, sae, micros, snapshots, kept in rows.collect()
    ]
    return tuple(sorted(found, key=lambda publication: publication.number))


def last_of_each_date(found: Iterable[Publication]) -> dict[date, Publication]:
    """Return the last publication of each date that the tables still hold, newest date first.

    Parameters
    ----------
    found : by their number.
    """
    last = {publication.dt: publication for publication in found if publication.kept}
    return dict(sorted(last.items(), reverse=True))


def newest_publication(warehouse: Warehouse, found: Iterable[Publication]) -> Publication:
    """Return the last publication of the newest date.

    Parameters
    ----------
    found : all publications, by their number.

    Raises
    ------
    InputError : nothing has been published yet; refused audits are named.
    """
    from recsae_lib.platform.warehouse.tables import AUDIT_ATTEMPTS

    for publication in last_of_each_date(found).values():
        return publication
    namespace = warehouse.namespaces["audit"]
    cause = f"No audit of {namespace} has been published"
    refused = warehouse.read_all(AUDIT_ATTEMPTS).select("dt").distinct().orderBy("dt").collect()  # a row a night
    if not refused:
        raise InputError(cause, "Run `recsae audit` first")
    branch = warehouse.at(refused[-1]["dt"]).branch
    raise InputError(
        f"{cause}; refused by their checks: {', '.join(str(row['dt']) for row in refused[-5:])}",
        f"`recsae sql \"SELECT * FROM {namespace}.concepts VERSION AS OF '{branch}'\"` shows what such an audit found",
    )
