"""Delimited text as raw tables: MovieLens, RecBole and CSV, every line with its number."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.lines import Text, decoded, open_text
from recsae_lib.datasets.parsing.places import PLACE, place_rows
from recsae_lib.datasets.parsing.quoting import WRONG_FIELDS, Quoting, Scanner
from recsae_lib.datasets.parsing.raw_tables import RECORD_LENGTH, RawTable
from recsae_lib.datasets.parsing.records import with_records
from recsae_lib.errors import InputError

MOST_FIELDS = 20_000  # at 20,480 Spark's CSV parser gives up the whole job instead of the line


@dataclass(frozen=True)
class Layout:
    """How a delimited text is written.

    Parameters
    ----------
    separator : what stands between two fields.
    quote : what fields may be quoted by (`quoting`); a quoted field may hold line breaks. None where a quote mark is a
        letter like others.
    escape : what stands before a quote within quotes; None where such a quote is doubled (RFC 4180).
    names : columns in order; None where the first line of each file names them.
    encoding : any that Java knows; a line with other bytes is rejected.
    """

    separator: str
    quote: str | None = None
    escape: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str = "UTF-8"

    @property
    def quoting(self) -> Quoting | None:
        """Its quotes; None where it has none."""
        if self.quote is None:
            return None
        return Quoting(self.separator, self.quote, None if self.escape == self.quote else self.escape)


def read_delimited(spark: SparkSession, path: str, layout: Layout) -> RawTable:
    """Read a file, a folder with all below it, or a pattern, of delimited text as columns of text.

    A blank line is no row, and neither is a line that repeats the header.

    Raises
    ------
    InputError : there is no such path, it is no text, or the columns cannot be named.
    """
    source = open_text(spark, path, layout.encoding)
    placed = place_rows(source.lines, [F.col("value")])
    header = None
    names = layout.names
    if names is None:
        header = _header(source, path)
        names = _names(header, layout, path)
    aliases = [f"field_{place}" for place in range(len(names))]
    lines = decoded(placed.rows, source.encoding)
    persisted: tuple[DataFrame, ...] = ()
    if layout.quoting is None:
        records = _split(lines.withColumn("continued", F.lit(False)), layout.separator, aliases)
    else:
        joined, persisted = with_records(lines, layout.quoting, len(names))
        records = _parsed(joined, layout.quoting, aliases)
    skipped = (
        F.when(F.col("continued"), "continued")
        .when(F.trim("line") == "", "blank")
        .when(F.col("line") == F.lit(header or ""), "header")
    )
    record = F.substring("line", 1, RECORD_LENGTH).alias("record")
    rows = records.select(*PLACE, *aliases, skipped.alias("skipped"), "fault", record)
    columns: dict[str, tuple[Column, T.DataType]] = {
        name: (F.col(alias), T.StringType()) for name, alias in zip(names, aliases, strict=True)
    }
    return RawTable(path, rows, columns, placed.files, has_lines=True, header=header, persisted=persisted)


def _header(source: Text, path: str) -> str:
    if not source.first.strip():
        raise InputError(f"{path} does not begin with a header line", "Name the columns on the first line of each file")
    return source.first


def _names(header: str, layout: Layout, path: str) -> tuple[str, ...]:
    quoting = layout.quoting
    if quoting is None:
        names = header.split(layout.separator)
    else:
        scan = Scanner(quoting).scan(header)
        if scan.inside or scan.misplaced:
            raise InputError(
                f"{path}: the quotes of the header line {header[:200]!r} are not closed",
                "Quote each name of a column on the one line, or set dataset.csv.quote to null",
            )
        names = _fields_of(header, quoting)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path} names columns twice: {', '.join(repeated)}", "Give each column its own name")
    return tuple(names)


def _fields_of(header: str, quoting: Quoting) -> list[str]:
    try:
        row = next(
            csv.reader(
                [header],
                delimiter=quoting.separator,
                quotechar=quoting.quote,
                escapechar=quoting.escape,
                doublequote=quoting.escape is None,
                skipinitialspace=True,
            )
        )
    except csv.Error as failure:
        raise InputError(f"The header line {header[:200]!r} cannot be read: {failure}", "Check dataset.csv") from None
    return [name.strip() for name in row]


def _split(lines: DataFrame, separator: str, aliases: list[str]) -> DataFrame:
    """Add a column for each field, and the fault where there are more of them, or fewer; no field is quoted."""
    split = lines.withColumn("fields", F.split(F.col("line"), re.escape(separator), -1))
    whole = F.size("fields") == len(aliases)
    fields = [F.when(whole, F.col("fields")[place]).alias(alias) for place, alias in enumerate(aliases)]
    fault = F.coalesce("fault", F.when(~whole, WRONG_FIELDS)).alias("fault")
    return split.select(*PLACE, "line", "continued", *fields, fault)


def _parsed(records: DataFrame, quoting: Quoting, aliases: list[str]) -> DataFrame:
    """The same of records that may be quoted."""
    line, separator = F.col("line"), quoting.separator
    schema = ", ".join(f"{name} STRING" for name in [*aliases, "broken"])
    options = {
        "sep": separator,
        "quote": quoting.quote,
        "escape": quoting.escape or quoting.quote,
        "ignoreLeadingWhiteSpace": "true",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "broken",
    }
    narrow = (F.length(line) < MOST_FIELDS) | (_occurrences(line, separator) < MOST_FIELDS)
    readable = F.col("fault").isNull() & ~F.col("continued") & narrow
    parsed = records.withColumn("parsed", F.from_csv(F.when(readable, line), schema, options))
    wrong = F.col("parsed").isNull() | F.col("parsed.broken").isNotNull()
    fault = F.coalesce("fault", F.when(wrong, WRONG_FIELDS)).alias("fault")
    return parsed.select(*PLACE, "line", "continued", *[f"parsed.{alias}" for alias in aliases], fault)


def _occurrences(text: Column, character: str) -> Column:
    return F.length(text) - F.length(F.replace(text, F.lit(character), F.lit("")))
