"""Attributes become texts of bounded length in which nothing hides."""

from __future__ import annotations

from pyspark.sql import SparkSession

from recsae_lib.datasets.derived.attribute_texts import attribute_texts

ATTRIBUTES = "item_id string, attributes array<struct<name:string,value:string>>"


def test_hostile_values_are_cleaned_or_left_out(spark: SparkSession) -> None:
    given = [
        ("city", "Phoenix"),
        ("city", " \x1b[2JPhoe\u202enix\n"),
        ("brand", "&lt;b&gt; &amp;amp; &#27;[2J"),
        ("brand", "\u200e\x07 "),
        ("brand", ""),
        ("brand", "'; DROP TABLE items; --"),
        ("note", "x" * 94),
        ("note", "y" * 95),  # of 101 characters with its name
        ("na\x1bme", "v"),
        ("a: b", "c: d"),
    ]
    frame = spark.createDataFrame([("i", given), ("none", None), ("empty", [])], ATTRIBUTES)
    rows = {row["item_id"]: row["texts"] for row in frame.select("item_id", attribute_texts().alias("texts")).collect()}
    assert rows == {
        "i": [
            "city: Phoenix",
            "city: [2JPhoenix",
            "brand: <b> &amp; [2J",
            "brand: '; DROP TABLE items; --",
            "note: " + "x" * 94,
            "na me: v",
            "a: b: c: d",
        ],
        "none": None,
        "empty": [],
    }
