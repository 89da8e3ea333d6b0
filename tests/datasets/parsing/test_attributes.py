"""Years and attribute values of every type that columns come in."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.attributes import as_values, as_year
from recsae_lib.errors import InputError


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("int", [1995, 0, 40_000_000, None], [1995, 1970, 1971, None]),
        ("bigint", [1995, 946_684_800, 946_684_800_000], [1995, 2000, 2000]),
        ("double", [1995.0, float("nan"), 946_684_800.0, None], [1995, None, 2000, None]),
        ("float", [1995.0, 946_684_800.0], [1995, None]),
        ("decimal(6,1)", [Decimal("1995.0"), None], [1995, None]),
        (
            "string",
            ["1995", " 1995 ", "1995.0", "1939-12-15", "2001-02-03T04:05:06Z", "946684800", "soon", "01-Jan-1995", ""],
            [1995, 1995, 1995, 1939, 2001, 2000, None, None, None],
        ),
        ("date", [date(1939, 12, 15), None], [1939, None]),
        ("timestamp", [datetime(1999, 12, 31, 23, 59, tzinfo=timezone.utc)], [1999]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_year_or_a_time_gives_the_year(spark: SparkSession, kind: str, given: list[Any], expected: list[Any]) -> None:
    frame = spark.createDataFrame([(value,) for value in given], f"value {kind}")
    typed = (F.col("value"), frame.schema["value"].dataType)
    assert [row[0] for row in frame.select(as_year("value", typed)).collect()] == expected


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("string", [" Phoenix, AZ ", "nan", "", None], [["Phoenix, AZ"], [], [], []]),
        ("array<string>", [["a ", "", None, "None", "b"], [], None], [["a", "b"], [], None]),
        ("int", [2, None], [["2"], []]),
        ("double", [2.0, 2.5, float("nan")], [["2"], ["2.5"], []]),
        ("array<double>", [[1.0, None, 0.5]], [["1", "0.5"]]),
        ("boolean", [True], [["true"]]),
        ("date", [date(2020, 1, 2)], [["2020-01-02"]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_are_texts_of_one_or_many(spark: SparkSession, kind: str, given: list[Any], expected: list[Any]) -> None:
    frame = spark.createDataFrame([(value,) for value in given], f"value {kind}")
    typed = (F.col("value"), frame.schema["value"].dataType)
    assert [row[0] for row in frame.select(as_values("value", typed)).collect()] == expected


def test_other_types_are_refused_with_the_setting_to_change(spark: SparkSession) -> None:
    schema = spark.createDataFrame([], "flag boolean, map map<string,string>").schema
    with pytest.raises(InputError, match="'flag' is boolean, but a release is a year") as refused:
        as_year("flag", (F.col("flag"), schema["flag"].dataType))
    assert "dataset.columns.released" in str(refused.value.remedy)
    with pytest.raises(InputError, match="'map' is map<string,string>, but an attribute is text") as refused:
        as_values("map", (F.col("map"), schema["map"].dataType))
    assert "dataset.columns.attributes" in str(refused.value.remedy)
