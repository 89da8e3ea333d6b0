"""What people read of a night, by every way there is, and which audit that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsae_lib.config.shipped import saved_queries
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.read_point import AsOf
from tests.planted import FEATURES
from tests.workspace import DT, Workspace, different_tables

Rows = list[tuple[Any, ...]]
PARAMETERS = {"concepts_of_a_segment": {"feature": FEATURES[0]}, "users_of_a_concept": {"latent": "0"}}


def seen_by_readers(night: Workspace) -> dict[str, Rows]:
    """Rows of every table that audits publish and of every saved query, sorted, by what was asked and how.

    Tables are read by `recsae sql`, by `--as-of` the date of the night, and as the library reads what is published.
    """
    seen = asked(night)
    seen |= {f"{name} as of {DT}": rows for name, rows in asked(night, DT).items()}
    seen |= {f"{name} by the library": rows for name, rows in night.published().items()}
    for name, file in saved_queries().items():
        seen[f"saved query {name}"] = answer(night, file.read_text(encoding="utf-8"), PARAMETERS.get(name, {}))
    return seen


def asked(night: Workspace, as_of: AsOf | None = None) -> dict[str, Rows]:
    """Rows of every table that audits publish, sorted, as `recsae sql` shows them."""
    return {table.name: answer(night, f"SELECT * FROM {table.name}", {}, as_of) for table in tables.AUDIT_TABLES}


def answer(night: Workspace, query: str, parameters: Mapping[str, str], as_of: AsOf | None = None) -> Rows:
    """Rows of a query, sorted; none where it is refused, as it is before anything was published."""
    try:
        rows = run_query(night.warehouse(), query, parameters, as_of).collect()
    except InputError:
        return []
    return sorted((tuple(row) for row in rows), key=repr)


def audit_seen(known: Mapping[str, Mapping[str, Rows]], seen: Mapping[str, Rows]) -> tuple[str, list[str]]:
    """Which of the known audits this is, and what of it is not as in that audit: nothing where the audit is whole.

    Parameters
    ----------
    known : what readers see of each audit, by its name.
    seen : what they see.
    """
    differing = {name: different_tables(dict(seen), dict(audit)) for name, audit in known.items()}
    nearest = min(differing, key=lambda name: len(differing[name]))
    return nearest, differing[nearest]


def audits_of_the_past(night: Workspace, known: Mapping[str, Mapping[str, Rows]]) -> list[tuple[str, list[str]]]:
    """Which audit `--as-of` the moment of each publication shows, in their order, each as `audit_seen` says it."""
    moments = [publication.finished_at for publication in publications(night.warehouse())]
    return [audit_seen(known, asked(night, moment)) for moment in moments]


def rows_of_main(night: Workspace) -> dict[str, Rows]:
    """All rows on main of every table that audits publish, of all dates, sorted."""
    warehouse = night.warehouse()
    heads = {table: warehouse.references(table).get("main") for table in tables.AUDIT_TABLES}
    found = {table: None if head is None else warehouse.read_snapshot(table, head) for table, head in heads.items()}
    return {
        table.name: [] if rows is None else sorted((tuple(row) for row in rows.collect()), key=repr)
        for table, rows in found.items()
    }
