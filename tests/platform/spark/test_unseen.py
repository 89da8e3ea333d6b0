"""Spark knows the same characters as Python; items lose them, and what is nothing else stays as it is."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.platform.spark.unseen import clean_items, hides_something, holds_unseen
from recsae_lib.printable import plain

ITEMS = "item_id string, title string, text string, features array<string>"


def test_spark_and_python_know_the_same_characters(spark: SparkSession) -> None:
    every = [(chr(code),) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    held = spark.createDataFrame(every, "text string").where(holds_unseen(F.col("text"))).collect()
    assert {row["text"] for row in held} == {text for (text,) in every if plain(text) != text}


def test_items_lose_what_nobody_sees(spark: SparkSession) -> None:
    hostile = [
        ("clear", "\x1b[2JToy Story", "a\x00b\x9bc", ["A\x1b[m", "A\u202e[m", "\u200e"]),
        ("turned", "\u202egnp.exe", "", []),
        ("tagged", "Mono\U000e0041\U000e0042", "", []),
        ("lines", "two\r\nlines\tand a tab", "one\u2028two", ["x\ny"]),
        ("feature", "t", "t", ["\x07"]),
        ("plain", "  naïve 👩\u200d🚀 می\u200cخواهم ", "t", ["b ", "a", "b "]),
    ]
    items = spark.createDataFrame(hostile, ITEMS)
    assert {tuple(row) for row in clean_items(items).withColumn("features", F.to_json("features")).collect()} == {
        ("clear", "[2JToy Story", "a b c", '["A [m","A[m"]'),
        ("turned", "gnp.exe", "", "[]"),
        ("tagged", "Mono", "", "[]"),
        ("lines", "two  lines and a tab", "one two", '["x y"]'),
        ("feature", "t", "t", "[]"),
        ("plain", "  naïve 👩\u200d🚀 می\u200cخواهم ", "t", '["b ","a","b "]'),
    }
    assert {row["item_id"] for row in items.where(hides_something()).collect()} == {
        *("clear", "turned", "tagged", "feature")
    }
    assert clean_items(items).where(hides_something()).isEmpty()
