"""Delimited text as raw tables: MovieLens, RecBole and CSV, one row a line, every line with its number."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.lines import decoded, read_lines
from recsae_lib.datasets.parsing.places import PLACE, place_rows
from recsae_lib.datasets.parsing.raw_tables import RECORD_LENGTH, RawTable
from recsae_lib.errors import InputError

MOST_FIELDS = 20_000  # at 20,480 Spark's CSV parser gives up the whole job instead of the line
OPEN_QUOTE = "a quote is not closed on its line"
WRONG_FIELDS = "wrong number of fields"


@dataclass(frozen=True)
class Layout:
    """How a delimited text is written.

    Parameters
    ----------
    separator : what stands between two fields.
    quoted : whether a field may be quoted, a quote within it doubled (RFC 4180). A line break within a field is not
        read: a file is cut into splits, and these into lines, at every line break. Such lines are rejected.
    names : columns in order; None where the first line of each file names them.
    encoding : UTF-8 (a line with other bytes is rejected) or ISO-8859-1.
    """

    separator: str
    quoted: bool = False
    names: tuple[str, ...] | None = None
    encoding: str = "UTF-8"


def read_delimited(spark: SparkSession, path: str, layout: Layout) -> RawTable:
    """Read a file, a folder or a pattern of delimited text as columns of text.

    A blank line is no row, and neither is a line that repeats the header.

    Raises
    ------
    InputError : there is no such path, or the columns cannot be named.
    """
    source = read_lines(spark, path)
    placed = place_rows(source, [F.col("value")])
    header = None
    names = layout.names
    if names is None:
        header = _header(source, layout.encoding, path)
        names = _names(header, layout, path)
    aliases = [f"field_{place}" for place in range(len(names))]
    rows = _with_fields(decoded(placed.rows, layout.encoding), layout, aliases).select(
        *PLACE,
        *aliases,
        F.when(F.trim("line") == "", "blank").when(F.col("line") == F.lit(header or ""), "header").alias("skipped"),
        "fault",
        F.substring("line", 1, RECORD_LENGTH).alias("record"),
    )
    columns: dict[str, tuple[Column, T.DataType]] = {
        name: (F.col(alias), T.StringType()) for name, alias in zip(names, aliases, strict=True)
    }
    return RawTable(path, rows, columns, placed.files, has_lines=True, header=header)


def _header(source: DataFrame, encoding: str, path: str) -> str:
    # A split at offset 0 begins with the first line of a file; all files must begin with the same one.
    first = decoded(source.where("_metadata.file_block_start = 0").select("value"), encoding).first()
    if first is None or not first["line"].strip():
        raise InputError(f"{path} does not begin with a header line", "Name the columns on the first line of each file")
    return first["line"]


def _names(header: str, layout: Layout, path: str) -> tuple[str, ...]:
    names = next(csv.reader([header])) if layout.quoted else header.split(layout.separator)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path} names columns twice: {', '.join(repeated)}", "Give each column its own name")
    return tuple(names)


def _with_fields(lines: DataFrame, layout: Layout, aliases: list[str]) -> DataFrame:
    """Add a column for each field, and the fault where there are more of them, or fewer."""
    line = F.col("line")
    if not layout.quoted:
        split = lines.withColumn("fields", F.split(line, re.escape(layout.separator), -1))
        whole = F.size("fields") == len(aliases)
        fields = [F.when(whole, F.col("fields")[place]).alias(alias) for place, alias in enumerate(aliases)]
        return split.select(*PLACE, "line", *fields, F.coalesce("fault", F.when(~whole, WRONG_FIELDS)).alias("fault"))
    schema = ", ".join(f"{name} STRING" for name in [*aliases, "broken"])
    options = {"sep": layout.separator, "escape": '"', "mode": "PERMISSIVE", "columnNameOfCorruptRecord": "broken"}
    narrow = (F.length(line) < MOST_FIELDS) | (_occurrences(line, layout.separator) < MOST_FIELDS)
    parsed = lines.withColumn("parsed", F.from_csv(F.when(narrow, line), schema, options))
    open_quote = line.contains('"') & (_occurrences(line, '"') % 2 == 1)
    wrong = F.col("parsed").isNull() | F.col("parsed.broken").isNotNull()
    fault = F.coalesce("fault", F.when(open_quote, OPEN_QUOTE), F.when(wrong, WRONG_FIELDS))
    return parsed.select(*PLACE, "line", *[f"parsed.{alias}" for alias in aliases], fault.alias("fault"))


def _occurrences(text: Column, character: str) -> Column:
    return F.length(text) - F.length(F.replace(text, F.lit(character), F.lit("")))
