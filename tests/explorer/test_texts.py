from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.explorer.texts import cut, known_by, rounded

NUMBERS = {
    0.912345: 0.9123,
    -0.00123456: -0.001235,
    1.6123e-14: 1.612e-14,
    123456.7: 123457.0,
    9999.6: 10000.0,
    12.3456: 12.35,
    0.0: 0.0,
    1.0: 1.0,
    1e-40: 0.0,
}


@pytest.mark.integration
def test_texts_are_cut_and_numbers_rounded(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(place, number) for place, number in enumerate(NUMBERS)], "place int, number double")
    found = {row["place"]: row["number"] for row in rounded(rows).collect()}
    assert [found[place] for place in range(len(NUMBERS))] == pytest.approx(list(NUMBERS.values()), rel=1e-12, abs=0)
    assert [repr(found[place]) for place in (0, 5)] == ["0.9123", "12.35"]
    texts = spark.createDataFrame([("a", "four"), ("b", "fives"), ("c", "")], "item_id string, title string")
    shown = texts.select(cut(F.col("title"), 4), known_by(F.col("item_id"), F.col("title"))).collect()
    assert [tuple(row) for row in shown] == [("four", "four"), ("fiv…", "fives"), ("", "c")]
    nothing = spark.createDataFrame([(None,)], "number double")
    assert rounded(nothing).collect() == [(None,)]
