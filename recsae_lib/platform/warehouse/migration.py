"""`recsae migrate`: tables of an earlier version become tables of this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyspark.sql import functions as F

from recsae_lib.platform.warehouse.maintenance import is_branch_of_night
from recsae_lib.platform.warehouse.schemas import column_clause, later_columns, refuse_outdated
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import TABLES, Table, history


def require_migrated(warehouses: Iterable[Warehouse]) -> None:
    """Refuse to begin where a table was written by an earlier version; it would be refused when it is written to.

    Raises
    ------
    InputError : names all of them.
    """
    found = existing_tables(warehouses)
    refuse_outdated([warehouse.full_name(table) for warehouse, table in found if warehouse.is_outdated(table)])


def migrate_tables(warehouses: Iterable[Warehouse]) -> Iterator[str]:
    """Migrate every table of the warehouses that exists, once; yields what was done, a line for each thing."""
    for warehouse, table in existing_tables(warehouses):
        yield from migrate_table(warehouse, table)


def migrate_table(warehouse: Warehouse, table: Table) -> Iterator[str]:
    """Add the columns that came later, then rename values on main and on the branches of audits, then note that.

    Each of these is one commit, and does nothing where it was done: a kill is followed by another run. Tags keep what
    they hold; `in_present_form` has their readers see it as if it had been migrated. A column that came later holds
    nulls as far as the catalog knows: Iceberg adds no other one to rows that are there. What is written is checked
    against the declaration all the same.
    """
    name = warehouse.full_name(table)
    if added := later_columns(table, warehouse.columns(table)):
        _add_columns(warehouse, table)
        yield f"{name}: added {', '.join(field.name for field in added)}"
    if changed := _change_comments(warehouse, table):
        yield f"{name}: new comments of {', '.join(changed)}"
    migrations = warehouse.migrations(table)
    for migration in migrations:
        for reference in filter(is_branch_of_night, warehouse.references(table)):
            if rows := _rename(warehouse, table, reference, migration):
                old = "no value" if migration.old is None else migration.old
                yield f"{name}: {migration.column}: {old} is {migration.new} in {rows:,} rows of {reference}"
    if migrations:
        _alter(warehouse, table, f"SET TBLPROPERTIES ('{history.SCHEMA_PROPERTY}'='{len(history.MIGRATIONS)}')")
        yield f"{name}: is of this version"


def existing_tables(warehouses: Iterable[Warehouse]) -> list[tuple[Warehouse, Table]]:
    """Every table that exists, each once: sites and models share some of theirs."""
    named = {
        w.full_name(table): (w, table) for w in warehouses for table in TABLES.values() if table.scope in w.namespaces
    }
    return [(warehouse, table) for warehouse, table in named.values() if warehouse.exists(table)]


def _add_columns(warehouse: Warehouse, table: Table) -> None:
    def add() -> None:
        if missing := later_columns(table, warehouse.columns(table)):
            clauses = ", ".join(column_clause(field, nullable=True) for field in missing)
            warehouse.spark.sql(f"ALTER TABLE {warehouse.full_name(table)} ADD COLUMNS ({clauses})")

    warehouse.change(table, add)


def _change_comments(warehouse: Warehouse, table: Table) -> list[str]:
    found = {field.name: field.metadata.get("comment") for field in warehouse.columns(table).fields}
    comments = {field.name: field.metadata["comment"] for field in table.schema.fields if field.name in found}
    changed = [name for name, comment in comments.items() if comment != found[name]]

    def change() -> None:
        update = warehouse.iceberg(table).updateSchema()
        for name in changed:
            update = update.updateColumnDoc(name, comments[name])
        update.commit()

    if changed:
        warehouse.change(table, change)
    return changed


def _rename(warehouse: Warehouse, table: Table, reference: str, migration: history.Migration) -> int:
    """Give rows of a branch the new value of a column; returns how many there were."""
    name, column = warehouse.full_name(table), F.col(migration.column)
    rows = warehouse.spark.read.option("branch", reference).table(name)
    found = rows.where(column.eqNullSafe(F.lit(migration.old))).count()
    if found:
        target = name if reference == "main" else f"{name}.`branch_{reference}`"
        statement = f"UPDATE {target} SET {migration.column} = :new WHERE {migration.column} <=> :old"
        values = {"new": migration.new, "old": migration.old}
        warehouse.change(table, lambda: warehouse.spark.sql(statement, args=values))
    return found


def _alter(warehouse: Warehouse, table: Table, change: str) -> None:
    warehouse.change(table, lambda: warehouse.spark.sql(f"ALTER TABLE {warehouse.full_name(table)} {change}"))
