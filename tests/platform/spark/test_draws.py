from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.platform.spark.draws import first_by_hash


def test_the_rows_of_the_smallest_hashes_are_drawn(spark: SparkSession) -> None:
    rows = spark.range(0, 4000, 1, 3).select(F.format_string("u%d", "id").alias("user_id"))
    draw = F.xxhash64("user_id", F.lit(7))
    hashes = {row[0]: row[1] for row in rows.select("user_id", draw).collect()}
    for number in (1, 50, 3990):  # of 102 and 200 rows that are looked at, and of all
        drawn = [row[0] for row in first_by_hash(rows, draw, number).collect()]
        assert drawn == sorted(hashes, key=lambda user: hashes[user])[:number]


def test_of_many_rows_few_are_looked_at(spark: SparkSession) -> None:
    looked_at = F.raise_error(F.lit("looked at")).cast("string")
    rows = spark.range(4000).select("id", F.when(F.xxhash64("id") > 0, looked_at).otherwise("a").alias("name"))
    assert first_by_hash(rows, F.xxhash64("id"), 50, "id").where("name = 'a'").count() == 50


def test_equal_hashes_stand_by_their_ties_and_all_may_be_wanted(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("b",), ("c",), ("a",)], "user_id string")
    assert [row[0] for row in first_by_hash(rows, F.lit(5).cast("long"), 2).collect()] == ["a", "b"]
    assert first_by_hash(rows, F.xxhash64("user_id"), 9).count() == 3
