"""What earlier versions wrote otherwise: `recsae migrate` changes it in the tables, and reading understands it.

A column that is only new needs nothing here: it may hold nulls, or its declaration has a default.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsae_lib.platform.warehouse.tables.audits import AUDIT_METRICS, AUDITS, COMPARISONS, CONCEPT_COVERAGE
from recsae_lib.platform.warehouse.tables.concepts import CONCEPT_LABELS, CONCEPTS
from recsae_lib.platform.warehouse.tables.declaration import Table, Value
from recsae_lib.platform.warehouse.tables.unit_kinds import UnitKind


@dataclass(frozen=True)
class Renamed:
    """A column holds one value where rows of earlier versions hold another one.

    Parameters
    ----------
    tables, column : where.
    old : the value of earlier versions. It never comes back with another meaning: old snapshots hold it for ever.
    new : the value of today.
    """

    tables: tuple[Table, ...]
    column: str
    old: Value
    new: Value


@dataclass(frozen=True)
class Reshaped:
    """Rows of a table mean something else than before; `recsae migrate` has code for it, and until then nobody reads
    them.
    """

    tables: tuple[Table, ...]


Migration = Renamed | Reshaped

# In the order in which they came: only ever append. The property SCHEMA_PROPERTY of a table says how many of them it
# has behind it.
MIGRATIONS: tuple[Migration, ...] = (
    Renamed((CONCEPT_COVERAGE, AUDIT_METRICS, COMPARISONS), "unit_kind", "init", UnitKind.UNTRAINED.value),
    Renamed((CONCEPT_LABELS, CONCEPTS), "interpreter", "openai", "llm"),
    Reshaped((AUDITS,)),
)
SCHEMA_PROPERTY = "recsae-schema"


def migrations_of(table: Table, done: int = 0) -> list[Migration]:
    """Return the migrations of a table that has the first `done` of the list behind it."""
    return [migration for migration in MIGRATIONS[done:] if table in migration.tables]


def is_reshaped(table: Table) -> bool:
    """Whether a table that was not migrated cannot be read."""
    return any(isinstance(migration, Reshaped) for migration in migrations_of(table))
