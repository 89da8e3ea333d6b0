"""Texts and numbers as the page shows them: cut and rounded, so that cards stay small. What they say stays as it is."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

TITLE, LABEL, DESCRIPTION, FEATURE = 160, 160, 600, 60  # characters that are shown
FEATURES = 5  # of an item that are shown


def cut(text: Column, most: int) -> Column:
    """A text of at most so many characters; what is longer ends with an ellipsis."""
    return F.when(F.length(text) > most, F.concat(F.substring(text, 1, most - 1), F.lit("…"))).otherwise(text)


def known_by(item_id: Column, title: Column) -> Column:
    """What an item is called: its title, or its id where it has none."""
    return cut(F.when(F.length(title) > 0, title).otherwise(item_id), TITLE)


def shown_features(features: Column) -> Column:
    """The first item features, cut."""
    return F.transform(F.slice(features, 1, FEATURES), lambda feature: cut(feature, FEATURE))


def rounded(rows: DataFrame) -> DataFrame:
    """Rows whose numbers have four digits: what is shown of them, and the same whatever the order of sums."""
    fractions = [field.name for field in rows.schema.fields if isinstance(field.dataType, T.DoubleType | T.FloatType)]
    return rows.withColumns({name: _four_digits(F.col(name).cast("double")) for name in fractions})


def _four_digits(number: Column) -> Column:
    """A number to four digits, or to the whole; below 1e-30 it is 0."""
    size = F.floor(F.log10(F.greatest(F.abs(number), F.lit(1e-30))))
    power = F.pow(F.lit(10.0), F.greatest(F.lit(3) - size, F.lit(0)))
    return F.rint(number * power) / power
