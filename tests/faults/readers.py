"""What people read of a night, by every way there is, and which audit that is."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.config.shipped import saved_queries
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.read_point import AsOf
from tests.planted import FEATURES
from tests.workspace import DT, Workspace, different_tables

Rows = list[Any]


def seen_by_readers(night: Workspace) -> dict[str, Rows]:
    """Rows of every table that audits publish and of every saved query, sorted, by what was asked and how.

    Tables are read by `recsae sql`, by `--as-of` the date of the night, and as the library reads what is published.
    """
    warehouse = night.warehouse()
    point = warehouse.published()
    by_library = rows_of({table.name: point.read(warehouse, table) for table in tables.AUDIT_TABLES})
    seen = asked(night)
    seen |= {f"{name} as of {DT}": rows for name, rows in asked(night, DT).items()}
    seen |= {f"{name} by the library": rows for name, rows in by_library.items()}
    latent = min((dict(row)["latent_id"] for row in seen["concepts"]), default=0)
    parameters = {"concepts_of_a_segment": {"feature": FEATURES[0]}, "users_of_a_concept": {"latent": str(latent)}}
    for name, file in saved_queries().items():
        try:
            rows = run_query(warehouse, file.read_text(encoding="utf-8"), parameters.get(name))
        except InputError:  # its tables are not there yet
            seen[f"saved query {name}"] = []
        else:
            seen[f"saved query {name}"] = sorted(map(tuple, rows.collect()), key=repr)
    return seen


def asked(night: Workspace, as_of: AsOf | None = None) -> dict[str, Rows]:
    """Rows of every table that audits publish, sorted, as one query of `recsae sql` shows them."""
    there = [table.name for table in tables.AUDIT_TABLES if night.warehouse().exists(table)]
    parts = [f"SELECT '{name}' AS table, to_json(struct(*)) AS row FROM {name}" for name in there]
    try:
        rows = run_query(night.warehouse(), " UNION ALL ".join(parts), None, as_of) if there else None
    except InputError:
        if publications(night.warehouse()):
            raise
        rows = None  # as of a date by which nothing was published
    return read_back(rows, [table.name for table in tables.AUDIT_TABLES])


def rows_of(frames: Mapping[str, DataFrame]) -> dict[str, Rows]:
    """Rows of several tables, sorted, by the tables' names; one query reads them."""
    parts = [
        rows.select(F.lit(name).alias("table"), F.to_json(F.struct(*rows.columns)).alias("row"))
        for name, rows in frames.items()
    ]
    return read_back(reduce(DataFrame.unionAll, parts) if parts else None, frames)


def read_back(rows: DataFrame | None, names: Collection[str]) -> dict[str, Rows]:
    """Rows of tables from (table, row as JSON), each as pairs of column and value."""
    found: dict[str, Rows] = {name: [] for name in names}
    for name, text in [] if rows is None else rows.collect():
        found[name].append(json.loads(text, object_pairs_hook=tuple))
    return {name: sorted(of_table, key=repr) for name, of_table in found.items()}


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
    found = {table.name: warehouse.read_snapshot(table, head) for table, head in heads.items() if head is not None}
    there = rows_of({name: rows for name, rows in found.items() if rows is not None})
    return {table.name: there.get(table.name, []) for table in tables.AUDIT_TABLES}
