"""Texts of items."""

from __future__ import annotations

import html

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.item_texts import LONGEST_TEXT, described, has_entities, unescape, unescape_items


@given(st.text())
def test_what_was_escaped_once_is_unescaped_once(text: str) -> None:
    assert unescape(html.escape(text)) == text


def test_only_entities_with_their_semicolon_are_unescaped() -> None:
    assert unescape("R&D &copy=2 AT&T; &nosuch; &#39;&#x27;&eacute;&amp;amp;") == "R&D &copy=2 AT&T; &nosuch; ''é&amp;"


def test_items_are_unescaped_in_all_columns_and_others_unchanged(spark: SparkSession) -> None:
    rows = [
        ("1", "A &amp; B", "x", ["C &lt; D", "e", "C < D"]),
        ("2", "plain", "&quot;y&quot;", []),
        ("3", "plain & simple", "z", ["e"]),
        ("4", "plain", "z", ["&#233;"]),
    ]
    items = spark.createDataFrame(rows, "item_id STRING, title STRING, text STRING, features ARRAY<STRING>")
    assert [row[0] for row in items.where(has_entities()).select("item_id").orderBy("item_id").collect()] == [
        "1",
        "2",
        "4",
    ]
    assert [tuple(row) for row in unescape_items(items).orderBy("item_id").collect()] == [
        ("1", "A & B", "x", ["C < D", "e"]),
        ("2", "plain", '"y"', []),
        ("3", "plain & simple", "z", ["e"]),
        ("4", "plain", "z", ["é"]),
    ]


def test_a_long_text_is_cut_between_words_and_loses_its_markup(spark: SparkSession) -> None:
    rows = [
        ("t", ["<p class='a'>one</p>", "2 < 3 > 1"]),
        ("t", None),
        ("", ["only"]),
        ("t", ["word " * 300]),
        ("x" * 3000, []),
        ("a" * 500, ["b" * 499]),
    ]
    frame = spark.createDataFrame(rows, "title STRING, parts ARRAY<STRING>")
    texts = [row[0] for row in frame.select(described(F.col("title"), F.col("parts"))).collect()]
    assert texts[:3] == ["t one  2 < 3 > 1", "t", "only"]
    assert texts[3] == "t " + ("word " * 199).strip()
    assert texts[4] == "x" * LONGEST_TEXT
    assert texts[5] == "a" * 500 + " " + "b" * 499  # exactly as long as it may be
