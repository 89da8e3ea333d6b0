"""What earlier versions wrote otherwise: `recsae migrate` changes it in the tables, and reading understands it."""

from __future__ import annotations

from dataclasses import dataclass

from recsae_lib.platform.warehouse.tables.audits import AUDIT_METRICS, COMPARISONS, CONCEPT_COVERAGE
from recsae_lib.platform.warehouse.tables.concepts import CONCEPT_LABELS, CONCEPTS
from recsae_lib.platform.warehouse.tables.declaration import Table
from recsae_lib.platform.warehouse.tables.unit_kinds import UnitKind

Value = str | int | float | bool


@dataclass(frozen=True)
class Migration:
    """A column holds one value where rows of earlier versions hold another one.

    A column that is declared later and may hold nulls needs none. One that may not needs a migration whose `old` is
    None: what stands in the rows that were written before there was such a column.

    Parameters
    ----------
    tables, column : where.
    old : the value of earlier versions. It never comes back with another meaning: old snapshots hold it for ever.
    new : the value of today.
    """

    tables: tuple[Table, ...]
    column: str
    old: Value | None
    new: Value


# In the order in which they came: only ever append. The property SCHEMA_PROPERTY of a table says how many of them it
# has behind it.
MIGRATIONS = (
    Migration((CONCEPT_COVERAGE, AUDIT_METRICS, COMPARISONS), "unit_kind", "init", UnitKind.UNTRAINED.value),
    Migration((CONCEPT_LABELS, CONCEPTS), "interpreter", "openai", "llm"),
)
SCHEMA_PROPERTY = "recsae-schema"


def migrations_of(table: Table, done: int = 0) -> list[Migration]:
    """Return the migrations of a table that has the first `done` of the list behind it."""
    return [migration for migration in MIGRATIONS[done:] if table in migration.tables]
