"""Parquet files as raw tables, each read by what its own footer says.

The files of a folder may come from different hands: a column is a 32-bit number in one, text in the next, all null or
absent in a third. Files of the same types are read together, and each column is brought to a type that holds what all
of them hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.files import escaped, parquet_files
from recsae_lib.datasets.parsing.places import PLACE, file_numbers, name_of_file
from recsae_lib.datasets.parsing.raw_tables import RECORD_LENGTH, RawTable, refuse_missing_columns
from recsae_lib.datasets.parsing.values import is_text_or_whole
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.read_errors import reading

NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
TEXTS = T.ArrayType(T.StringType())
_TIMES = (T.TimestampType, T.TimestampNTZType, T.DateType)


@dataclass(frozen=True)
class Stored:
    """How a file holds a column: its type in Spark, and whether the number is a time in nanoseconds, which Spark has no
    type for.
    """

    type: T.DataType
    nanoseconds: bool

    @property
    def read(self) -> T.DataType:
        """Type of `values`."""
        return T.TimestampType() if self.nanoseconds else self.type

    def values(self, column: Column) -> Column:
        """The column as it is meant; what is finer than a microsecond is cut off."""
        if not self.nanoseconds:
            return column
        whole = column - F.pmod(column, F.lit(1000))
        return F.timestamp_micros(F.call_function("div", whole, F.lit(1000)))


@dataclass(frozen=True)
class ParquetFile:
    """A file with how it holds each of the wanted columns that are there."""

    path: str
    stored: dict[str, Stored]


def read_parquet(spark: SparkSession, path: str, wanted: Sequence[str], to_columns: str, to_tables: str) -> RawTable:
    """Read columns of a file, of a folder with all below it, or of a pattern.

    A column that a file does not have is null there. One that is in the names of folders (``item_id=0012/``) is text.

    Parameters
    ----------
    to_columns, to_tables : what to do where a column is missing, and where the folder is a table.

    Raises
    ------
    InputError : there is nothing to read, a column is nowhere, or its types have nothing in common.
    """
    # Without it Spark refuses files with such times, even where another column is read.
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    with reading(path):
        statuses = parquet_files(spark, path, to_tables)
        files, names = _described(spark, statuses, wanted)
        in_folders = {name for file in files for name in _partition(file.path)}
        refuse_missing_columns(wanted, [*names, *in_folders], path, to_columns)
        held = {name for file in files for name in file.stored}
        partitions = [name for name in wanted if name not in held and name in in_folders]
        types = _common_types(spark, files, [name for name in wanted if name not in partitions], path)
        aliases = {name: f"column_{place}" for place, name in enumerate(wanted)}
        rows, paths = _union(spark, files, types, aliases)
        values = {aliases[name]: [_partition(unquote(file)).get(name) for file in paths] for name in partitions}
        numbered = rows.join(F.broadcast(file_numbers(spark, paths, values)), "path", how="left").drop("path")
    typed = {name: types.get(name, T.StringType()) for name in wanted}
    record = F.to_json(F.struct(*[F.col(aliases[name]).alias(name) for name in wanted]), {"ignoreNullFields": "false"})
    return RawTable(
        path,
        numbered.select(
            *aliases.values(),
            *PLACE,
            F.lit(None).cast("string").alias("skipped"),
            F.lit(None).cast("string").alias("fault"),
            F.substring(record, 1, RECORD_LENGTH).alias("record"),
        ),
        {name: (F.col(alias), typed[name]) for name, alias in aliases.items()},
        tuple(name_of_file(file) for file in paths),
    )


def _described(spark: SparkSession, statuses: list[Any], wanted: Sequence[str]) -> tuple[list[ParquetFile], list[str]]:
    """Files, and the names of all columns of all of them, in the order in which they come."""
    files, known, names = [], dict[str, dict[str, Stored]](), dict[str, None]()
    for path, metadata in _footers(spark, statuses):
        schema = metadata.getFileMetaData().getSchema()
        if (written := str(schema.toString())) not in known:
            fields = {field.getName(): field for field in schema.getFields()}
            names.update(dict.fromkeys(fields))
            _refuse_alike(fields, wanted, path)
            known[written] = {name: _stored(spark, fields[name]) for name in wanted if name in fields}
        files.append(ParquetFile(path, dict(known[written])))
    return files, list(names)


def _footers(spark: SparkSession, statuses: list[Any]) -> list[tuple[str, Any]]:
    jvm: Any = spark._jvm
    given = jvm.java.util.ArrayList()
    for status in statuses:
        given.add(status)
    configuration = spark._jsparkSession.sessionState().newHadoopConf()
    found = jvm.org.apache.parquet.hadoop.ParquetFileReader.readAllFootersInParallel(configuration, given, True)
    return [(str(footer.getFile().toString()), footer.getParquetMetadata()) for footer in found]


def _refuse_alike(fields: Iterable[str], wanted: Sequence[str], path: str) -> None:
    for name in wanted:
        alike = [field for field in fields if field.lower() == name.lower()]
        if name in alike and len(alike) > 1:
            raise InputError(
                f"{path} has the columns {' and '.join(map(repr, alike))}, which Spark does not tell apart",
                "Rename or remove one of them",
            )


def _stored(spark: SparkSession, field: Any) -> Stored:
    jvm: Any = spark._jvm
    one = jvm.java.util.ArrayList()
    one.add(field)
    parquet, package = jvm.org.apache.parquet.schema, jvm.org.apache.spark.sql.execution.datasources.parquet
    convert = package.ParquetToSparkSchemaConverter(spark._jsparkSession.sessionState().conf()).convert
    converted = T.StructType.fromJson(json.loads(convert(parquet.MessageType("one", one)).json()))
    return Stored(converted[0].dataType, str(field.getLogicalTypeAnnotation()).startswith("TIMESTAMP(NANOS"))


def _common_types(spark: SparkSession, files: list[ParquetFile], names: list[str], path: str) -> dict[str, T.DataType]:
    """Type that each column is brought to. A type in which all values are null has no say where others disagree."""
    types = {name: _common(_types_of(files, name)) for name in names}
    for name in [name for name, common in types.items() if common is None]:
        for kind in {file.stored[name] for file in files if name in file.stored}:
            holders = [file for file in files if file.stored.get(name) == kind]
            if _source(spark, {name: kind}, holders).where(column_named(name).isNotNull()).isEmpty():
                for file in holders:
                    del file.stored[name]
        types[name] = _common(_types_of(files, name))
    for name, common in types.items():
        if common is None:
            kinds = {file.stored[name].read.simpleString(): file.path for file in files if name in file.stored}
            told = ", ".join(f"{kind} in {name_of_file(file)}" for kind, file in kinds.items())
            raise InputError(f"Column {name!r} of {path} is {told}", "Write it as one type in all files")
    return {name: common for name, common in types.items() if common is not None}


def _types_of(files: list[ParquetFile], name: str) -> set[T.DataType]:
    return {file.stored[name].read for file in files if name in file.stored}


def _common(types: set[T.DataType]) -> T.DataType | None:
    """Type that holds the values of all types; None where there is none."""
    if len(types) < 2:
        return next(iter(types), T.StringType())
    if all(isinstance(kind, T.IntegralType) for kind in types):
        return T.LongType()
    if all(isinstance(kind, T.NumericType) for kind in types) and not all(map(is_text_or_whole, types)):
        return T.DoubleType()
    if all(is_text_or_whole(kind) or isinstance(kind, _TIMES) for kind in types):
        return T.StringType()
    if all(isinstance(kind, T.ArrayType) and is_text_or_whole(kind.elementType) for kind in types):
        return TEXTS
    return None


def _as(common: T.DataType, stored: Stored, column: Column) -> Column:
    values = stored.values(column)
    if isinstance(common, T.StringType) and isinstance(stored.read, T.TimestampType):
        return F.date_format(values, "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX")
    return values if stored.read == common else values.cast(common)


def _union(
    spark: SparkSession, files: list[ParquetFile], types: dict[str, T.DataType], aliases: dict[str, str]
) -> tuple[DataFrame, list[str]]:
    """Rows (an alias for each column of `types`, path, block, position), and the paths, sorted."""
    groups: dict[tuple[Stored | None, ...], list[ParquetFile]] = {}
    for file in files:
        groups.setdefault(tuple(file.stored.get(name) for name in types), []).append(file)
    frames, paths = [], list[str]()
    for kinds, members in groups.items():
        stored = {name: kind for name, kind in zip(types, kinds, strict=True) if kind is not None}
        source = _source(spark, stored, members)
        paths += source.inputFiles()
        columns = [
            (_as(common, stored[name], column_named(name)) if name in stored else F.lit(None).cast(common)).alias(
                aliases[name]
            )
            for name, common in types.items()
        ]
        path, block = F.col("_metadata.file_path"), F.col("_metadata.file_block_start")
        frames.append(source.select(*columns, path.alias("path"), block.alias("block")))
    rows = reduce(DataFrame.unionByName, frames).withColumn("position", F.monotonically_increasing_id())
    return rows, sorted(paths)


def _source(spark: SparkSession, stored: dict[str, Stored], files: list[ParquetFile]) -> DataFrame:
    schema = T.StructType([T.StructField(name, kind.type) for name, kind in stored.items()])
    reader = spark.read.schema(schema).option("recursiveFileLookup", "true")
    return reader.parquet(*[escaped(file.path) for file in files])


def column_named(name: str) -> Column:
    """Column of a name that may hold dots and blanks."""
    return F.col("`" + name.replace("`", "``") + "`")


def _partition(path: str) -> dict[str, str | None]:
    """Columns that are in the names of the folders of a path, as text."""
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {unquote(name): None if value == NO_PARTITION else unquote(value) for name, _, value in pairs}
