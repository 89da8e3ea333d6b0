"""RecBole's atomic files: tab-separated, each column named ``name:type`` on the first line.

Read are ``*.inter`` (user_id, item_id; rating and timestamp where they are there) and ``*.item`` (item_id). The title
is the first column of tokens whose name contains "title", else "name"; the features are those of the other columns of
type token_seq, where a blank separates them, or quotes do, as in ``'Home & Kitchen' 'Girls'``. The year of release
is that of dataset.columns.released, else release_year. Times are read exactly: RecBole itself casts them to 32-bit
floats.
"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.config import ColumnMapping, Repeats
from recsae_lib.datasets.parsing.attributes import named_attributes
from recsae_lib.datasets.parsing.delimited import Layout, read_delimited
from recsae_lib.datasets.parsing.raw_tables import RawTable, refuse_missing_columns
from recsae_lib.datasets.parsing.values import as_features, as_id, as_text
from recsae_lib.datasets.validation import Validated, validate_interactions, validate_items

RELEASED = "release_year"


def read_recbole(
    spark: SparkSession, path: str, named: ColumnMapping | None = None, repeats: Repeats = "reject"
) -> tuple[Validated, Validated]:
    """Read the atomic files of a folder.

    Parameters
    ----------
    named : `released` and `attributes` are read: bare names of columns of the items.
    repeats : see `validate`.

    Raises
    ------
    InputError : a file or a column that is needed is missing.
    """
    interactions, _ = _read_atomic(spark, f"{path}/*.inter", ("user_id", "item_id"))
    named = named or ColumnMapping()
    others = tuple(name for name in (named.released, *named.attributes) if name)
    items, types = _read_atomic(spark, f"{path}/*.item", ("item_id", *others))
    columns = ColumnMapping(
        weight="rating" if "rating" in interactions.columns else None,
        ts="timestamp" if "timestamp" in interactions.columns else None,
    )
    return validate_interactions(interactions, columns, repeats), _items(items, types, named)


def _read_atomic(spark: SparkSession, path: str, wanted: tuple[str, ...]) -> tuple[RawTable, dict[str, str]]:
    """Read files of one kind; returns the columns under their bare names, and the RecBole type of each."""
    raw = read_delimited(spark, path, Layout("\t"))
    types = dict(column.partition(":")[::2] for column in raw.columns)
    bare = replace(raw, columns={name.partition(":")[0]: column for name, column in raw.columns.items()})
    remedy = "Name the columns name:type on the first line, as RecBole does; under dataset.columns without the type"
    refuse_missing_columns(wanted, bare.columns, path, remedy)
    return bare, types


def _items(items: RawTable, types: dict[str, str], named: ColumnMapping) -> Validated:
    title = _title_column(types)
    sequences = [name for name, kind in types.items() if kind == "token_seq" and name != title]
    text = as_text(title, items.columns[title]) if title else F.lit("")
    features = [as_features(name, _sequence(items.columns[name][0]), " ") for name in sequences]
    values = {
        "item_id": as_id("item_id", items.columns["item_id"]),
        "title": text,
        "text": text,
        "features": F.array_distinct(F.concat(*features)) if features else F.array().cast("array<string>"),
    }
    listed = {name: _sequence(items.columns[name][0]) for name, kind in types.items() if kind == "token_seq"}
    released = named.released or (RELEASED if RELEASED in items.columns else None)
    source = replace(items, columns={**items.columns, **listed})
    return validate_items(items, values | named_attributes(source, released, named.attributes))


def _sequence(value: Column) -> tuple[Column, T.DataType]:
    """The tokens of a value: what its quotes hold, if it begins and ends with one, else what its blanks separate."""
    quoted = F.regexp_extract_all(value, F.lit(r"""(['"])(.+?)\1(?=[\s,\]]|\z)"""), F.lit(2))
    is_quoted = value.rlike(r"""^\s*\[?(['"]).*\1\]?\s*\z""")
    return F.when(is_quoted, quoted).otherwise(F.split(value, " ")), T.ArrayType(T.StringType())


def _title_column(types: dict[str, str]) -> str | None:
    tokens = [name for name, kind in types.items() if kind in ("token", "token_seq")]
    return next((name for word in ("title", "name") for name in tokens if word in name.lower()), None)
