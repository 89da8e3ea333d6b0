"""Compare a DataFrame with a table's declaration; everything that differs is reported together."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.tables import Table
from recsae_lib.platform.warehouse.tables.declaration import default_of
from recsae_lib.platform.warehouse.tables.history import MIGRATIONS, SCHEMA_PROPERTY, Renamed, migrations_of


def discrepancies(declared: T.StructType, found: T.StructType) -> list[str]:
    """List every column that is missing, unknown or of another type; nullability is checked on the values."""
    missing = [f"column {name} is missing" for name in declared.names if name not in found.names]
    unknown = [f"column {name} is not declared" for name in found.names if name not in declared.names]
    return missing + unknown + _other_types(declared, found)


def conform(table: Table, rows: DataFrame) -> DataFrame:
    """Select the declared columns in their order; a null where none is allowed stops the write with its place.

    Raises
    ------
    InputError : the schema differs; all discrepancies are named.
    """
    if lines := discrepancies(table.schema, rows.schema):
        raise InputError(
            f"The rows to write do not fit table {table.name}: {'; '.join(lines)}",
            f"Compare with recsae_lib/platform/warehouse/tables, which declares it; {table.writer_in_words} writes it",
        )
    found = {field.name: field.dataType for field in rows.schema.fields}
    return rows.select(*[_guarded(table, field, found[field.name]).alias(field.name) for field in table.schema.fields])


def with_foreign_columns(rows: DataFrame, table: Table, found: T.StructType) -> DataFrame:
    """Rows as `conform` gives them, with a null in each column that the table has and its declaration has not."""
    return rows.withColumns({field.name: F.lit(None).cast(field.dataType) for field in foreign_columns(table, found)})


def foreign_columns(table: Table, found: T.StructType) -> list[T.StructField]:
    """Columns of a table that are not declared: people added them, or a newer release."""
    return [field for field in found.fields if field.name not in table.schema.names]


def refuse_unreadable(table: Table, found: T.StructType, where: str) -> None:
    """Raise InputError where columns that a table has lack declared ones, or have other types; others may be there.

    Parameters
    ----------
    found : columns of the table, with those that `in_present_form` has added.
    where : name of the table in the catalog.
    """
    missing = [f"column {name} is missing" for name in table.schema.names if name not in found.names]
    if lines := missing + _other_types(table.schema, found):
        raise InputError(
            f"The columns of {where} do not fit the table {table.name}: {'; '.join(lines)}",
            f"Another program made this table, or changed it. Give it another name (ALTER TABLE … RENAME TO …), or "
            f"another namespace to the settings; {table.writer_in_words} then makes a new one",
        )


def refuse_unwritable(table: Table, found: T.StructType, where: str) -> None:
    """Raise InputError where a table cannot take rows of the declared columns.

    Raises
    ------
    InputError : as `refuse_unreadable`; or a column that is not declared may hold no nulls.
    """
    refuse_unreadable(table, found, where)
    if required := [field.name for field in foreign_columns(table, found) if not field.nullable]:
        raise InputError(
            f"{where} has columns that recsae does not know and that may hold no nulls: {', '.join(required)}",
            "; ".join(f"ALTER TABLE {where} ALTER COLUMN {name} DROP NOT NULL" for name in required),
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
    allowed, or there is a default for the rows of then.
    """
    missing = [field for field in table.schema.fields if field.name not in found.names]
    return [field for field in missing if field.nullable or default_of(field) is not None]


def filled_columns(table: Table, found: T.StructType) -> list[T.StructField]:
    """The declared columns in whose place old rows may hold nulls that stand for a default.

    The catalog knows such a column as one that may hold nulls: Iceberg (format version 2) adds no other one to rows
    that are there.
    """
    optional = {field.name for field in found.fields if field.nullable}
    return [f for f in table.schema.fields if f.name in optional and not f.nullable and default_of(f) is not None]


def creation(table: Table, name: str) -> str:
    """The statement that creates a table under a name, with the declared comments."""
    columns = ", ".join(column_clause(field, field.nullable) for field in table.schema.fields)
    partitioning = "PARTITIONED BY (dt)" if table.partitioned_by_date else ""
    # One write touches one dt: Iceberg's default, a shuffle by partition, would send every row to one task.
    properties = (
        "TBLPROPERTIES ('format-version'='2', 'write.distribution-mode'='none', "
        f"'{SCHEMA_PROPERTY}'='{len(MIGRATIONS)}')"
    )
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING iceberg {partitioning} "
        f"COMMENT {quoted(table.comment)} {properties}"
    )


def add_columns(spark: SparkSession, name: str, columns: Sequence[T.StructField]) -> list[str]:
    """Add columns to a table, in one commit that leaves rows and snapshots as they are; returns their names."""
    if columns:
        clauses = ", ".join(column_clause(field, nullable=True) for field in columns)
        spark.sql(f"ALTER TABLE {name} ADD COLUMNS ({clauses})")
    return [field.name for field in columns]


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
    columns = {field.name: _default(field) for field in later_columns(table, rows.schema)}
    columns |= {field.name: F.coalesce(field.name, _default(field)) for field in filled_columns(table, rows.schema)}
    rows = rows.withColumns(columns) if columns else rows
    for migration in migrations_of(table):
        if isinstance(migration, Renamed):
            column = F.col(migration.column)
            renamed = F.when(column.eqNullSafe(F.lit(migration.old)), F.lit(migration.new)).otherwise(column)
            rows = rows.withColumn(migration.column, renamed)
    return rows


def _default(field: T.StructField) -> Column:
    return F.lit(default_of(field)).cast(field.dataType)


def _other_types(declared: T.StructType, found: T.StructType) -> list[str]:
    types = {field.name: field.dataType for field in found.fields}
    return [
        f"column {field.name} is {types[field.name].simpleString()}, declared {field.dataType.simpleString()}"
        for field in declared.fields
        if field.name in types and not _same_type(field.dataType, types[field.name])
    ]


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
