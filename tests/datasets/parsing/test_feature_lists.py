"""Lists of features as JSON, Python, numpy, PostgreSQL and Spark write them, and texts with a separator."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.feature_lists import recognise_separator
from recsae_lib.datasets.parsing.values import as_features

LISTS = {
    '["Shoes", "Red"]': ["Shoes", "Red"],
    "['Coats']": ["Coats"],
    "[\"Children's\", 'Drama', None]": ["Children's", "Drama"],
    "['a' 'b'\n 'c']": ["a", "b", "c"],
    "('a', 'b')": ["a", "b"],
    "('a',)": ["a"],
    "{'a', 'b'}": ["a", "b"],
    "{Action,Comedy}": ["Action", "Comedy"],
    "[Action, Comedy]": ["Action", "Comedy"],
    "[{'id': 28, 'name': 'Action'}, {'id': 3, 'name': 'War'}]": ["Action", "War"],
    '["a|b", "c, d"]': ["a|b", "c, d"],
    "[1, 2]": ["1", "2"],
    "[]": [],
    "{}": [],
    "[null]": [],
    "null": [],
    "nan": [],
    "None": [],
    "\\N": [],
    "[A]|[B]": ["[A]", "[B]"],
    "(no genres listed)": ["(no genres listed)"],
    "Sci-Fi [new]|B": ["Sci-Fi [new]", "B"],
    "a, b|c": ["a, b", "c"],
}


def test_every_way_to_write_a_list_is_read(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(text,) for text in LISTS], "f string")
    features = as_features("f", (F.col("f"), T.StringType()), "|")
    assert {row["f"]: row["x"] for row in rows.select("f", features.alias("x")).collect()} == LISTS


@pytest.mark.parametrize(
    ("texts", "separator", "warned"),
    [
        (["a, b|c", "d;e"], "|", False),
        (["Action, Comedy", "Drama", None, '["x|y"]'], ",", True),
        (["Action; Comedy, dark"], ";", True),
        (["one", None], "|", False),
    ],
)
def test_the_separator_is_the_first_that_any_item_has(
    spark: SparkSession, texts: list[str], separator: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rows = spark.createDataFrame([(text,) for text in texts], "features string")
    assert recognise_separator(rows) == separator
    assert bool(caplog.messages) == warned
    if separator == ",":
        assert caplog.messages[0].startswith("features are split at ',', which 1 of 3 items have, while none has '|'")
