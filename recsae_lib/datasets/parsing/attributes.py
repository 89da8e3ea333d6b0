"""What items have beside title, text and features: the year of their release, and attributes of any name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.raw_tables import RawTable
from recsae_lib.datasets.parsing.values import NO_VALUE, Typed, as_time, trimmed, wrong_type

_YEAR = r"^(\d{4})(?:\.0*)?\z"
_YEARS = (1000, 9999)  # numbers that are years rather than Unix times, which would be of the first hours of 1970


def as_year(name: str, value: Typed) -> Column:
    """Year as INT: of a year, or of a time in any form that `as_time` reads; null where it is neither.

    Raises
    ------
    InputError : the type is none that years or times come in.
    """
    column, data_type = value
    if isinstance(data_type, T.NumericType):
        year = F.when(column.between(*_YEARS), column)
        # A 32-bit float holds years, and no times.
        time = F.lit(None) if isinstance(data_type, T.FloatType) else as_time(name, value)
        return F.coalesce(year.cast("int"), F.when(~column.between(*_YEARS), F.year(time)))
    if isinstance(data_type, T.StringType):
        text = trimmed(column)
        return F.when(text.rlike(_YEAR), F.substring(text, 1, 4).cast("int")).otherwise(F.year(as_time(name, value)))
    if isinstance(data_type, T.DateType | T.TimestampType | T.TimestampNTZType):
        return F.year(as_time(name, value))
    rule = "a release is a year, a date, a timestamp, ISO 8601 text or a Unix time"
    raise wrong_type(name, data_type, rule, "Name another column under dataset.columns.released")


def no_year() -> Column:
    """Year of release where the source has none."""
    return F.lit(None).cast("int")


def as_values(name: str, value: Typed) -> Column:
    """Values of an attribute as ARRAY<STRING>, without blanks around them and none empty: of an array, or the one.

    Raises
    ------
    InputError : the type is neither text, a number, a truth value or a date, nor an array of one of these.
    """
    column, data_type = value
    listed = isinstance(data_type, T.ArrayType)
    element = data_type.elementType if isinstance(data_type, T.ArrayType) else data_type
    if not isinstance(element, T.StringType | T.NumericType | T.BooleanType | T.DateType):
        rule = "an attribute is text, a number, a truth value, a date, or an array of one of these"
        raise wrong_type(name, data_type, rule, "Leave it out of dataset.columns.attributes")

    def plain(one: Column) -> Column:
        text = trimmed(one.cast("string"))
        return F.regexp_replace(text, r"^(-?\d+)\.0+\z", "$1") if isinstance(element, T.FractionalType) else text

    texts = F.transform(column if listed else F.array(column), plain)
    return F.filter(texts, lambda text: (text != "") & ~text.rlike(NO_VALUE))


def attributes(values: Mapping[str, Column]) -> Column:
    """Attributes of an item, ARRAY<STRUCT<name, value>>.

    Parameters
    ----------
    values : name → its values, ARRAY<STRING>; null where the item has none.
    """
    none = F.array().cast("array<struct<name:string,value:string>>")

    def named(name: str) -> Column:
        return F.transform(values[name], lambda value: F.struct(F.lit(name).alias("name"), value.alias("value")))

    return F.concat(none, *[F.coalesce(named(name), none) for name in values])


def named_attributes(items: RawTable, released: str | None, names: Sequence[str]) -> dict[str, Column]:
    """The columns released and attributes of items whose source has them under these names.

    Raises
    ------
    InputError : one of them has a type that cannot be read.
    """
    found = {"attributes": attributes({name: as_values(name, items.columns[name]) for name in names})}
    return {**found, "released": as_year(released, items.columns[released])} if released else found
