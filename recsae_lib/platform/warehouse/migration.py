"""`recsae migrate`: tables of an earlier version become tables of this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyspark.sql import functions as F

from recsae_lib.platform.warehouse.publication_migration import separate_publications
from recsae_lib.platform.warehouse.references import branch_date
from recsae_lib.platform.warehouse.schemas import filled_columns, refuse_outdated
from recsae_lib.platform.warehouse.store import AUDIT_PROPERTY, UPKEEP_PROPERTY, Warehouse
from recsae_lib.platform.warehouse.tables import TABLES, Table, history
from recsae_lib.platform.warehouse.tables.declaration import Value, default_of


def require_migrated(warehouses: Iterable[Warehouse]) -> None:
    """Add columns that came later, and refuse to begin where a table holds values that are written otherwise today; it
    would be refused when it is written to.

    Raises
    ------
    InputError : names all of them.
    """
    found = existing_tables(warehouses)
    refuse_outdated([warehouse.full_name(table) for warehouse, table in found if warehouse.is_outdated(table)])
    for warehouse, table in found:
        warehouse.add_later_columns(table)


def migrate_tables(warehouses: Iterable[Warehouse]) -> Iterator[str]:
    """Migrate every table of the warehouses that exists, once; yields what was done, a line for each thing."""
    for warehouse, table in existing_tables(warehouses):
        yield from migrate_table(warehouse, table)


def migrate_table(warehouse: Warehouse, table: Table) -> Iterator[str]:
    """Add the columns that came later, then put values of today on main and on the branches of audits, then note that.

    Each of these is one commit, and does nothing where it was done: a kill is followed by another run. Tags keep what
    they hold; `in_present_form` has their readers see it as if it had been migrated. What is written is checked against
    the declaration, whatever the catalog allows.
    """
    name, outdated = warehouse.full_name(table), warehouse.migrations(table)
    if any(isinstance(migration, history.Reshaped) for migration in outdated):
        yield from separate_publications(warehouse)
    if added := warehouse.add_later_columns(table):
        yield f"{name}: added {', '.join(added)}"
    if changed := _change_comments(warehouse, table):
        yield f"{name}: new comments of {', '.join(changed)}"
    for column, old, new in _renames(warehouse, table, outdated):
        for reference in filter(_is_of_audits, warehouse.references(table)):
            if rows := _rename(warehouse, table, reference, column, old, new):
                former = "no value" if old is None else old
                yield f"{name}: {column}: {former} is {new} in {rows:,} rows of {reference}"
    if outdated:
        _note_version(warehouse, table)
        yield f"{name}: is of this version"


def existing_tables(warehouses: Iterable[Warehouse]) -> list[tuple[Warehouse, Table]]:
    """Every table that exists, each once: sites and models share some of theirs."""
    named = {
        w.full_name(table): (w, table) for w in warehouses for table in TABLES.values() if table.scope in w.namespaces
    }
    return [(warehouse, table) for warehouse, table in named.values() if warehouse.exists(table)]


def _is_of_audits(reference: str) -> bool:
    return reference == "main" or branch_date(reference) is not None


def _renames(
    warehouse: Warehouse, table: Table, outdated: Iterable[history.Migration]
) -> list[tuple[str, Value | None, Value]]:
    """Column, value of then (None: a null) and value of today."""
    filled = filled_columns(table, warehouse.columns(table))
    renamed = [m for m in outdated if isinstance(m, history.Renamed)]
    defaults = [(field.name, None, default) for field in filled if (default := default_of(field)) is not None]
    return [*defaults, *((migration.column, migration.old, migration.new) for migration in renamed)]


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


def _rename(warehouse: Warehouse, table: Table, reference: str, column: str, old: Value | None, new: Value) -> int:
    """Give rows of a branch the new value of a column; returns how many there were."""
    name, is_old = warehouse.full_name(table), F.col(column).eqNullSafe(F.lit(old))
    rows = warehouse.spark.read.option("branch", reference).table(name)
    if not (found := rows.where(is_old).count()):
        return 0
    part = F.lit(True)
    if table.partitioned_by_date:  # a table has a few hundred dates
        part = F.col("dt").isin([row["dt"] for row in rows.where(is_old).select("dt").distinct().collect()])
    today = F.lit(new).cast(table.schema[column].dataType)
    renamed = rows.where(part).withColumn(column, F.when(is_old, today).otherwise(F.col(column)))
    of_main = reference == "main"
    write = renamed.writeTo(name if of_main else f"{name}.`branch_{reference}`").option("check-nullability", "false")
    written_by = (UPKEEP_PROPERTY, "true") if of_main else (AUDIT_PROPERTY, reference)
    write = write.option(f"snapshot-property.{written_by[0]}", written_by[1])
    warehouse.change(table, lambda: write.overwrite(part))
    return found


def _note_version(warehouse: Warehouse, table: Table) -> None:
    properties = f"'{history.SCHEMA_PROPERTY}'='{len(history.MIGRATIONS)}'"
    statement = f"ALTER TABLE {warehouse.full_name(table)} SET TBLPROPERTIES ({properties})"
    warehouse.change(table, lambda: warehouse.spark.sql(statement))
