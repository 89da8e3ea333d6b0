"""Compare a DataFrame with a table's declaration; everything that differs is reported together."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.tables import Table
from recsae_lib.platform.warehouse.tables.history import migrations_of


def discrepancies(declared: T.StructType, found: T.StructType) -> list[str]:
    """List every column that is missing, unknown or of another type; nullability is checked on the values."""
    types = {field.name: field.dataType for field in found.fields}
    known = {field.name: field.dataType for field in declared.fields}
    lines = [f"column {name} is missing" for name in known if name not in types]
    lines += [f"column {name} is not declared" for name in types if name not in known]
    lines += [
        f"column {name} is {types[name].simpleString()}, declared {known[name].simpleString()}"
        for name in known
        if name in types and not _same_type(known[name], types[name])
    ]
    return lines


def conform(table: Table, rows: DataFrame) -> DataFrame:
    """Select the declared columns in their order; a null where none is allowed stops the write with its place.

    Raises
    ------
    InputError : the schema differs; all discrepancies are named.
    """
    refuse_discrepancies(table, rows.schema, "The rows to write")
    found = {field.name: field.dataType for field in rows.schema.fields}
    return rows.select(*[_guarded(table, field, found[field.name]).alias(field.name) for field in table.schema.fields])


def refuse_discrepancies(table: Table, found: T.StructType, what: str) -> None:
    """Raise InputError naming all discrepancies between `found` and the declaration of `table`."""
    if lines := discrepancies(table.schema, found):
        raise InputError(
            f"{what} do not fit table {table.name}: {'; '.join(lines)}",
            f"Compare with recsae_lib/platform/warehouse/tables, which declares it; {table.writer_in_words} writes it",
        )


def refuse_outdated(tables: Sequence[str]) -> None:
    """Raise InputError where tables, by their full names, were written by an earlier version."""
    if tables:
        raise InputError(
            f"Written by an earlier version of recsae: {', '.join(tables)}",
            "Run `recsae migrate` first, with the --conf of this run",
        )


def later_columns(table: Table, found: T.StructType) -> list[T.StructField]:
    """The declared columns that are not `found`, of those that a table of an earlier version may lack: nulls are
    allowed, or a migration says what to put in their place.
    """
    filled = {migration.column for migration in migrations_of(table) if migration.old is None}
    missing = [field for field in table.schema.fields if field.name not in found.names]
    return [field for field in missing if field.nullable or field.name in filled]


def column_clause(field: T.StructField, nullable: bool) -> str:
    """A column with its comment as DDL has it."""
    required = "" if nullable else " NOT NULL"
    return f"{field.name} {field.dataType.simpleString()}{required} COMMENT {quoted(field.metadata['comment'])}"


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_present_form(table: Table, rows: DataFrame) -> DataFrame:
    """Return rows of whatever version as today's version would have written them: columns that came later are filled
    in, values that were renamed have their new names.
    """
    added = {field.name: F.lit(None).cast(field.dataType) for field in later_columns(table, rows.schema)}
    rows = rows.withColumns(added) if added else rows
    for migration in migrations_of(table):
        column = F.col(migration.column)
        renamed = F.when(column.eqNullSafe(F.lit(migration.old)), F.lit(migration.new)).otherwise(column)
        rows = rows.withColumn(migration.column, renamed)
    return rows


def _same_type(declared: T.DataType, found: T.DataType) -> bool:
    if isinstance(declared, T.ArrayType) and isinstance(found, T.ArrayType):
        return _same_type(declared.elementType, found.elementType)
    if isinstance(declared, T.MapType) and isinstance(found, T.MapType):
        keys = _same_type(declared.keyType, found.keyType)
        return keys and _same_type(declared.valueType, found.valueType)
    return declared == found


def _guarded(table: Table, field: T.StructField, found: T.DataType) -> Column:
    column = F.col(field.name)
    if field.nullable:
        return column
    has_null = column.isNull()
    # Looking into every array costs as much as writing it: where the rows' own type rules nulls out, nobody looks.
    if isinstance(found, T.ArrayType) and found.containsNull:
        has_null = has_null | F.exists(column, lambda element: element.isNull())
    message = F.lit(f"InputError: Column {field.name} of table {table.name} would hold a null.")
    return F.when(has_null, F.raise_error(message).cast(field.dataType)).otherwise(column)
