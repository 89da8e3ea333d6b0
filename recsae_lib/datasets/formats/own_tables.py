"""Your own tables: Parquet, CSV or anything in a Spark catalog, with the columns that the settings name."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.config import DatasetSettings
from recsae_lib.config.datasets import CsvSettings
from recsae_lib.datasets.parsing.attributes import named_attributes
from recsae_lib.datasets.parsing.delimited import Layout, read_delimited
from recsae_lib.datasets.parsing.feature_lists import recognise_separator
from recsae_lib.datasets.parsing.parquet import column_named, read_parquet
from recsae_lib.datasets.parsing.raw_tables import RECORD_LENGTH, RawTable, refuse_missing_columns
from recsae_lib.datasets.parsing.values import as_features, as_id, as_text
from recsae_lib.datasets.validation import Validated, validate_interactions, validate_items
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.read_errors import reading

REMEDY = (
    "Set dataset.columns to the names in your tables"
    " (weight, ts, title, text and features may be null where there is no such column)"
)
SEPARATORS = (";", "\t", "|", ",")


def read_own_tables(spark: SparkSession, settings: DatasetSettings) -> tuple[Validated, Validated]:
    """Read interactions and items, of which only the mapped columns are touched.

    CSV has a header line, and is written as dataset.csv says; by default as RFC 4180 has it (`delimited.Layout`).

    Raises
    ------
    InputError : a file, table or column is missing, or a column has a type that cannot be read.
    """
    columns = settings.columns
    of_interactions = _named(columns.user_id, columns.item_id, columns.weight, columns.ts)
    interactions = _read(spark, settings, "interactions", of_interactions)
    others = (columns.released, *columns.attributes)
    of_items = _named(columns.item_id, columns.title, columns.text, columns.features, *others)
    items = _read(spark, settings, "items", of_items)
    return validate_interactions(interactions, columns, settings.repeats), _items(items, settings)


def _items(items: RawTable, settings: DatasetSettings) -> Validated:
    columns = settings.columns
    title = as_text(columns.title, items.columns[columns.title]) if columns.title else F.lit("")
    text = as_text(columns.text, items.columns[columns.text]) if columns.text else title
    features = F.array().cast("array<string>")
    if columns.features:
        value = items.columns[columns.features]
        features = as_features(columns.features, value, settings.feature_separator or _separator(items, value[0]))
    item_id = as_id(columns.item_id, items.columns[columns.item_id])
    values = {"item_id": item_id, "title": title, "text": text, "features": features}
    return validate_items(items, values | named_attributes(items, columns.released, columns.attributes))


def _separator(items: RawTable, features: Column) -> str:
    return recognise_separator(items.rows.select(features.cast("string").alias("features")))


def _named(*columns: str | None) -> list[str]:
    return list(dict.fromkeys(column for column in columns if column))


def _read(spark: SparkSession, settings: DatasetSettings, setting: str, wanted: list[str]) -> RawTable:
    name = str(getattr(settings, setting) or "")
    if settings.format == "csv":
        return _csv(spark, settings.csv, name, wanted)
    if settings.format == "parquet":
        to_tables = (
            f"Name the table itself: set dataset.format to table and dataset.{setting} to CATALOG.SCHEMA.TABLE, and "
            "declare its catalog in the Spark properties"
        )
        return read_parquet(spark, name, wanted, REMEDY, to_tables)
    table = _catalog_table(spark, name)
    refuse_missing_columns(wanted, table.columns, name, REMEDY)
    names = [f"column_{place}" for place in range(len(wanted))]
    record = F.to_json(
        F.struct(*[column_named(column).alias(column) for column in wanted]), {"ignoreNullFields": "false"}
    )
    selected = [column_named(column).alias(alias) for column, alias in zip(wanted, names, strict=True)]
    rows = table.select(
        *selected,
        F.lit(None).cast("string").alias("skipped"),
        F.lit(None).cast("string").alias("fault"),
        F.substring(record, 1, RECORD_LENGTH).alias("record"),
        F.lit(0).alias("file"),
        F.lit(0).cast("long").alias("block"),
        F.monotonically_increasing_id().alias("position"),
    )
    columns: dict[str, tuple[Column, T.DataType]] = {
        column: (F.col(alias), table.schema[column].dataType) for column, alias in zip(wanted, names, strict=True)
    }
    return RawTable(name, rows, columns, (name,))


def _csv(spark: SparkSession, csv: CsvSettings, path: str, wanted: list[str]) -> RawTable:
    layout = Layout(csv.separator, quote=csv.quote, escape=csv.escape, encoding=csv.encoding)
    raw = read_delimited(spark, path, layout)
    if len(raw.columns) == 1 and (other := next((mark for mark in SEPARATORS if mark in (raw.header or "")), None)):
        raise InputError(
            f"{path} has no {csv.separator!r} in its header line {(raw.header or '')[:200]!r}",
            f"Set dataset.csv.separator to {other!r}, if that is what separates its columns",
        )
    refuse_missing_columns(wanted, raw.columns, path, REMEDY)
    return raw


def _catalog_table(spark: SparkSession, name: str) -> DataFrame:
    with reading(name):
        if not spark.catalog.tableExists(name):
            raise InputError(f"There is no table {name}", "Check its name in the settings")
        return spark.table(name)
