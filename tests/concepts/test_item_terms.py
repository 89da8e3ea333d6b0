"""Terms of items against scikit-learn's CountVectorizer, and what it has no word for: features, scripts, stop words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from recsae_lib.concepts.item_terms import item_terms, item_terms_with_total
from recsae_lib.config import TermSettings

ITEMS = "item_id string, title string, text string, features array<string>"


def terms_of(
    spark: SparkSession, items: list[tuple[str, str | None, list[str] | None]], **changed: object
) -> dict[str, dict[tuple[str, str], int]]:
    frame = spark.createDataFrame([(item_id, "title", text, features) for item_id, text, features in items], ITEMS)
    rows = item_terms(frame, TermSettings(**changed)).collect()
    terms: dict[str, dict[tuple[str, str], int]] = {}
    for row in rows:
        terms.setdefault(row["item_id"], {})[row["kind"], row["term"]] = row["occurrences"]
    assert sum(map(len, terms.values())) == len(rows)  # one row a term
    return terms


def test_derived_features_are_whole_terms_of_their_own_kind(spark: SparkSession) -> None:
    rows = [
        ("a", "", "Heat", ["Drama"], ["released: 1996-1997", "popularity: high", "popularity: high"]),
        ("b", "", "", ["Drama"], None),  # of an earlier release
        ("c", "", "", [], ["Drama"]),
    ]
    items = spark.createDataFrame(rows, f"{ITEMS}, derived_features array<string>")
    settings = TermSettings()
    found = sorted((row["item_id"], row["kind"], row["term"]) for row in item_terms(items, settings).collect())
    assert found == [
        ("a", "derived", "popularity: high"),
        ("a", "derived", "released: 1996-1997"),
        ("a", "feature", "Drama"),
        ("a", "word", "heat"),
        ("b", "feature", "Drama"),
        ("c", "derived", "Drama"),
    ]
    totals = item_terms_with_total(items, settings).where("kind IS NULL").collect()
    assert {row["item_id"]: row["occurrences"] for row in totals} == {"a": 4, "b": 1, "c": 1}


def test_words_runs_of_words_and_features(spark: SparkSession) -> None:
    assert terms_of(
        spark,
        [
            ("rings", "The Lord of the Rings: rings, Rings", ["Fantasy", "Sci-Fi", "Fantasy"]),
            ("été", "ÉTÉ à Zürich, 第一 स्त्री don't x 7", []),
            ("bare", None, None),
            ("blank", " .,; ", [None, "Drama"]),
        ],
    ) == {
        "rings": {
            ("word", "lord"): 1,
            ("word", "rings"): 3,
            ("word", "lord rings"): 1,  # over the stop words between
            ("word", "rings rings"): 2,
            ("feature", "Fantasy"): 1,
            ("feature", "Sci-Fi"): 1,
        },
        "été": {
            ("word", "été"): 1,
            ("word", "zürich"): 1,
            ("word", "第一"): 1,
            ("word", "स्त्री"): 1,
            ("word", "don"): 1,
            ("word", "été zürich"): 1,
            ("word", "zürich 第一"): 1,
            ("word", "第一 स्त्री"): 1,
            ("word", "स्त्री don"): 1,
        },
        "blank": {("feature", "Drama"): 1},
    }


@pytest.mark.parametrize(
    ("text", "words", "longer"),
    [
        (
            "赤い春新作レディース靴",
            "赤い い春 春新 新作 レディース 靴",
            "赤い春 い春新 春新作 新作+レディース レディース+靴",
        ),
        ("红色连衣裙 裙", "红色 色连 连衣 衣裙 裙", "红色连 色连衣 连衣裙 衣裙+裙"),
        ("Tシャツ の 靴", "tシャツ 靴", "tシャツ+靴"),
        ("รองเท้า ดี", "รอง องเ งเท้ เท้า ดี", "รองเ องเท้ งเท้า เท้า+ดี"),
        ("ເກີບ", "ເກີບ", ""),
        ("한국어 상품", "한국어 상품", "한국어+상품"),
    ],
)
def test_scripts_without_blanks_give_groups_of_characters(
    spark: SparkSession, text: str, words: str, longer: str
) -> None:
    found = terms_of(spark, [("item", text, [])])["item"]
    runs = [run.replace("+", " ") for run in longer.split()]
    assert found == {("word", term): 1 for term in [*words.split(), *runs]}


def test_a_word_and_a_feature_of_the_same_letters_are_two_terms(spark: SparkSession) -> None:
    assert terms_of(spark, [("a", "drama drama", ["drama"])], longest_ngram=1) == {
        "a": {("word", "drama"): 2, ("feature", "drama"): 1}
    }


@pytest.mark.parametrize(("longest", "stop_words"), [(1, "english"), (2, "none"), (3, "english")])
def test_words_are_counted_as_scikit_learn_counts_them(spark: SparkSession, longest: int, stop_words: str) -> None:
    random = np.random.default_rng(longest)
    vocabulary = [
        *sorted(ENGLISH_STOP_WORDS)[::12],
        "star",
        "Wars",
        "x",
        "1977",
        "naïve",
        "snake_case",
        "O'Neill",
        "it's",
    ]
    separators = [" ", ", ", "-", " / ", "\n"]
    texts = [
        "".join(w + s for w, s in zip(random.choice(vocabulary, n), random.choice(separators, n), strict=True))
        for n in random.integers(0, 30, 40)
    ]
    vectorizer = CountVectorizer(ngram_range=(1, longest), stop_words=None if stop_words == "none" else stop_words)
    counts = vectorizer.fit_transform(texts).tocoo()
    names = vectorizer.get_feature_names_out()
    expected: dict[str, dict[tuple[str, str], int]] = {}
    for text, term, count in zip(counts.row, counts.col, counts.data, strict=True):
        expected.setdefault(str(text), {})["word", names[term]] = count
    items = [(str(n), text, []) for n, text in enumerate(texts)]
    assert terms_of(spark, items, longest_ngram=longest, stop_words=stop_words) == expected


def test_words_are_cut_once_for_each_item(spark: SparkSession) -> None:
    items = spark.createDataFrame([("i", "", "some words", ["Drama"])], ITEMS)
    for terms in (item_terms(items, TermSettings()), item_terms_with_total(items, TermSettings())):
        used: Any = terms.where("kind = 'word'").groupBy("term").count()
        # Where Spark writes out in a filter what makes the terms, each mention is one more run over the text.
        assert used._jdf.queryExecution().optimizedPlan().toString().count("regexp_extract_all") == 1
