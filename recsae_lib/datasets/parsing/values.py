"""Raw values as ids, weights, times and features, whatever type they come in; null where they cannot be read.

Text is matched before it is cast, so that a value which is none gives null, in ANSI mode as well.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.feature_lists import split_features
from recsae_lib.errors import InputError

BLANKS = " \t\r\n\f\v\u00a0"
EARLIEST, LATEST = 0, 4_133_980_799_999_999  # 1970-01-01 to the end of 2100, in microseconds (UTC)
EARLIEST_DIGITS, LATEST_DIGITS = 19700101000000, 21001231235959  # yyyymmddhhmmss; milliseconds after the year 2594

# What pandas, Hive, SQL and JavaScript write where there is no value.
NO_VALUE = r"^(?:[nN]a[nN]|NAN|NaT|null|NULL|none|None|NONE|undefined|<NA>|#?N/?A|\\N)\z"
_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\z"
# At most 20 digits before the point, so that the cast to decimal(38,6) always succeeds.
_UNIX = r"^[+-]?(\d{1,20}(\.\d*)?|\d(\.\d+)?[eE]\+?1?\d)\z"
_DATE, _CLOCK, _ZONE = (
    r"\d{4}-\d{2}-\d{2}",
    r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?",
    r" ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)",
)
_ZONED, _UNZONED = f"^{_DATE}{_CLOCK}{_ZONE}\\z", f"^{_DATE}({_CLOCK})?\\z"

Typed = tuple[Column, T.DataType]


def as_id(name: str, value: Typed) -> Column:
    """User or item id: `as_name`; null also where a word says that there is none (``nan``, ``None``, ``\\N``), which
    would make one user of all who have no id.

    A decimal number, such as BigQuery's NUMERIC, is one where nothing follows its point.

    Raises
    ------
    InputError : the type is none that ids come in.
    """
    return _let(as_name(name, value), lambda text: F.when(~text.rlike(NO_VALUE), text))


def as_name(name: str, value: Typed) -> Column:
    """Text without blanks around it, or a whole number as text; null where nothing is left.

    A decimal number, such as BigQuery's NUMERIC, is one where nothing follows its point.

    Raises
    ------
    InputError : the type is neither text nor a whole number.
    """
    column, data_type = value
    if not is_text_or_whole(data_type) and not isinstance(data_type, T.DecimalType):
        raise wrong_type(
            name,
            data_type,
            "an id is text or a whole number",
            "Cast it to a whole number (BIGINT) in your table; as text at once 12 would be '12.0', which joins nothing",
        )
    if isinstance(data_type, T.DecimalType) and data_type.scale > 0:
        column = F.when(column == F.floor(column), F.floor(column))  # a broken number is no id
    text = trimmed(column.cast("string"))
    return F.when(text != "", text)


def as_weight(name: str, value: Typed) -> Column:
    """Weight as DOUBLE; null where it is no finite number.

    Raises
    ------
    InputError : the type is neither a number nor text.
    """
    column, data_type = value
    if isinstance(data_type, T.StringType):
        number = _let(trimmed(column), lambda text: F.when(text.rlike(_FLOAT), text.cast("double")))
    elif isinstance(data_type, T.NumericType):
        number = column.cast("double")
    else:
        raise wrong_type(name, data_type, "a weight is a number", "Name another column under dataset.columns.weight")
    # NaN is above infinity in Spark's order.
    return _let(number, lambda known: F.when(F.abs(known) < F.lit(float("inf")), known))


def as_time(name: str, value: Typed) -> Column:
    """Time as TIMESTAMP: of a timestamp, a date, ISO 8601 text, or Unix time, as number or text.

    The size of a Unix time t says what it counts: seconds below 10¹¹, milliseconds below 10¹⁴, microseconds below 10¹⁷,
    else nanoseconds (so that every time from 1973 to 2100 is read right); what is finer than a microsecond is cut off.
    A time without a zone is UTC.

    Raises
    ------
    InputError : the type is none that times come in; or a 32-bit float, which is off by up to a minute.
    """
    column, data_type = value
    if isinstance(data_type, T.TimestampType):
        return column
    if isinstance(data_type, T.TimestampNTZType | T.DateType):
        return _iso(column.cast("string"))
    if isinstance(data_type, T.StringType):
        text = trimmed(column)
        number = _let(text, lambda known: F.when(known.rlike(_UNIX), known.cast("decimal(38,6)")))
        return F.coalesce(_unix(number), _iso(text))
    if isinstance(data_type, T.NumericType) and not isinstance(data_type, T.FloatType):
        return _unix(F.when(F.abs(column.cast("double")) < 1e20, column.cast("decimal(38,6)")))
    raise wrong_type(
        name,
        data_type,
        "a time is a timestamp, a date, ISO 8601 text or a Unix time (a 32-bit float cannot hold one)",
        "Name another column under dataset.columns.ts, or set it to null where there is no time",
    )


def as_text(name: str, value: Typed) -> Column:
    """Text; empty where there is none, or a word says so (``nan``, ``None``).

    Raises
    ------
    InputError : the type is neither text nor a whole number.
    """
    column, data_type = value
    if not is_text_or_whole(data_type):
        raise wrong_type(name, data_type, "this column must be text", "Name another one under dataset.columns")
    return _let(column.cast("string"), lambda text: F.when(~text.rlike(NO_VALUE), text).otherwise(""))


def as_features(name: str, value: Typed, separator: str) -> Column:
    """Item features as ARRAY<STRING>: in their order, each once, without blanks around them, none empty.

    Parameters
    ----------
    separator : what stands between two features where they come as one text that is no list (`split_features`).

    Raises
    ------
    InputError : the type is neither an array of text nor text.
    """
    column, data_type = value
    if isinstance(data_type, T.ArrayType) and is_text_or_whole(data_type.elementType):
        features = column.cast("array<string>")
    elif is_text_or_whole(data_type):
        known = F.when(~trimmed(column.cast("string")).rlike(NO_VALUE), trimmed(column.cast("string")))
        features = _let(known, lambda text: split_features(text, separator))
    else:
        raise wrong_type(
            name, data_type, "features are an array of text, or text", "Name another column under dataset.columns"
        )
    kept = F.array_distinct(F.filter(F.transform(features, trimmed), lambda feature: feature != ""))
    return F.coalesce(kept, F.array().cast("array<string>"))


def no_weight() -> Column:
    """Weight where the source has none."""
    return F.lit(1.0)


def no_time() -> Column:
    """Time where the source has none: 1970-01-01 (UTC)."""
    return F.timestamp_micros(F.lit(0).cast("long"))


def is_text_or_whole(data_type: T.DataType) -> bool:
    """Whether a type is one that ids come in."""
    whole = isinstance(data_type, T.IntegralType) or (isinstance(data_type, T.DecimalType) and data_type.scale == 0)
    return whole or isinstance(data_type, T.StringType)


def wrong_type(name: str, data_type: T.DataType, rule: str, remedy: str) -> InputError:
    """The error of a column whose type breaks a rule."""
    return InputError(f"Column {name!r} is {data_type.simpleString()}, but {rule}", remedy)


def trimmed(text: Column) -> Column:
    """Text without blanks around it."""
    return F.btrim(text, F.lit(BLANKS))


def _let(value: Column, body: Callable[[Column], Column]) -> Column:
    """Evaluate `value` once for all its uses in `body`: as plain expressions each use would be computed again."""
    return F.transform(F.array(value), body)[0]


def _unix(number: Column) -> Column:
    """TIMESTAMP of a Unix time as DECIMAL(38,6), of at most 20 digits before the point, or of yyyymmddhhmmss, which no
    Unix time until 2100 looks like.
    """

    def micros(exact: Column) -> Column:
        size = F.abs(exact)
        return (
            F.when(size < F.lit(10**11), exact * 10**6)
            .when(size < F.lit(10**14), exact * 1000)
            .when(size < F.lit(10**17), exact)
            .otherwise(exact / 1000)
        )

    def time(exact: Column) -> Column:
        parts = r"^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\z"
        digits = F.floor(exact).cast("long").cast("string")
        written = F.try_to_timestamp(F.regexp_replace(digits, parts, "$1-$2-$3T$4:$5:$6Z"))
        unix = F.timestamp_micros(F.floor(_let(exact, micros)).cast("long"))
        return F.when(exact.between(EARLIEST_DIGITS, LATEST_DIGITS), written).otherwise(unix)

    return _let(number, time)


def _iso(text: Column) -> Column:
    """TIMESTAMP of ISO 8601 text, also with UTC or GMT at its end, brought to the one form that Spark reads: with
    seconds and a zone hh:mm.
    """

    def complete(known: Column) -> Column:
        clock = F.when(known.rlike(f"^{_DATE}\\z"), F.concat(known, F.lit("T00:00:00"))).otherwise(known)
        zoned = F.when(known.rlike(_ZONED), known).when(known.rlike(_UNZONED), F.concat(clock, F.lit("Z")))
        named = F.regexp_replace(zoned, r" ?(Z|UTC|GMT)\z", "Z")
        with_seconds = F.regexp_replace(named, rf"([T ]\d{{2}}:\d{{2}}){_ZONE}\z", "$1:00$2")
        with_minutes = F.regexp_replace(with_seconds, r"([+-]\d{2})\z", "$1:00")
        return F.regexp_replace(with_minutes, r" ?([+-]\d{2}):?(\d{2})\z", "$1:$2")

    return F.try_to_timestamp(_let(text, complete))
