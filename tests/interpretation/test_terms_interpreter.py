"""Labels out of terms: which of them, in what order, and one row for every live latent."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import types as T

from recsae_lib.config import InterpretationSettings
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.platform.warehouse.tables import CONCEPT_LABELS, CONCEPT_TERMS

TERM_SCHEMA = T.StructType([field for field in CONCEPT_TERMS.schema if field.name not in ("dt", "sae_version")])
TERM = {
    "latent_id": 1,
    "kind": "word",
    "tf": 0.01,
    "tfidf": 0.1,
    "lift": 5.0,
    "z_score": 5.0,
    "q_value": 0.01,
    "significant": True,
    "items": 3,
    "users": 9,
}


def terms_of(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    ranked = [{**TERM, "rank": rank, **row} for rank, row in enumerate(rows, start=1)]
    return spark.createDataFrame([tuple(row[name] for name in TERM_SCHEMA.names) for row in ranked], TERM_SCHEMA)


def no_twins(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], "latent_id int, same_as int")


def interpret(spark: SparkSession, *rows: dict[str, Any], label_terms: int = 3) -> Row:
    live = spark.createDataFrame([(1,)], "latent_id int")
    labels = interpret_with_terms(
        live, terms_of(spark, *rows), no_twins(spark), InterpretationSettings(label_terms=label_terms)
    )
    (row,) = labels.collect()
    return row


def word(term: str, tf: float = 0.01, **fields: Any) -> dict[str, Any]:
    return {"term": term, "tf": tf, **fields}


def feature(term: str, tf: float = 0.01, **fields: Any) -> dict[str, Any]:
    return {"term": term, "kind": "feature", "tf": tf, **fields}


def test_derived_features_name_like_features(spark: SparkSession) -> None:
    derived = [{"term": f"released: {years}", "kind": "derived", "tf": 0.01} for years in ("1996-1997", "1998-1999")]
    row = interpret(spark, derived[0], feature("Drama"), derived[1], word("released"), word("alien"))
    assert row.label == "released: 1996-1997, Drama, released: 1998-1999"
    assert row.features == ["released: 1996-1997", "Drama", "released: 1998-1999"]
    assert "features (released: 1996-1997, Drama, released: 1998-1999) and words (released, alien)" in row.description


def test_a_label_is_the_best_significant_terms(spark: SparkSession) -> None:
    row = interpret(
        spark, feature("Horror"), word("alien"), word("noise", significant=False), feature("Sci-Fi"), word("ship")
    )
    assert row.label == "Horror, alien, Sci-Fi"
    assert row.description == (
        "Fires for users whose linked items stand out by their features (Horror, Sci-Fi) and words (alien, ship)."
    )
    assert row.features == ["Horror", "Sci-Fi"]
    assert (row.interpreter, row.status) == ("terms", "labelled")
    assert (row.llm_model, row.prompt_version, row.request_id) == (None, None, None)


REPETITIONS = {
    "the longer term has half of the word's weight: it takes the word's place": (
        [word("wars", 0.04), word("space"), word("ship"), word("trek"), word("star wars", 0.02)],
        "star wars, space, ship",
    ),
    "it has less: the word stays, and the longer term would only repeat it": (
        [word("wars", 0.05), word("star wars", 0.02), word("space")],
        "wars, space",
    ),
    "both words of a pair give way to it": (
        [word("star", 0.03), word("wars", 0.03), word("star wars", 0.03), word("space")],
        "star wars, space",
    ),
    "a part of a word is no word": ([word("war"), word("star wars", 0.05)], "war, star wars"),
    "a word gives way to the feature that it spells, whatever the case and the rank": (
        [word("comedy"), word("love"), feature("Comedy")],
        "Comedy, love",
    ),
    "so does a pair of words": ([word("sci fi"), feature("Sci-Fi")], "Sci-Fi"),
    "a word of a feature taken before is a repeat": (
        [feature("Science Fiction"), word("fiction"), word("ship")],
        "Science Fiction, ship",
    ),
    "features that share a word are not": (
        [feature("death metal"), feature("black metal"), feature("Death Metal")],
        "death metal, black metal",
    ),
    "nor are features that differ in signs": ([feature("C++"), feature("C")], "C++, C"),
}


def test_no_label_says_a_thing_twice(spark: SparkSession) -> None:
    rows = [
        {"latent_id": latent, "rank": rank, **row}
        for latent, (terms, _) in enumerate(REPETITIONS.values())
        for rank, row in enumerate(terms, start=1)
    ]
    live = spark.range(len(REPETITIONS)).selectExpr("CAST(id AS INT) AS latent_id")
    labels = interpret_with_terms(live, terms_of(spark, *rows), no_twins(spark), InterpretationSettings(label_terms=3))
    by_latent = {row.latent_id: row.label for row in labels.collect()}
    assert {case: by_latent[latent] for latent, case in enumerate(REPETITIONS)} == {
        case: label for case, (_, label) in REPETITIONS.items()
    }


def test_a_group_of_characters_gives_way_to_a_longer_one(spark: SparkSession) -> None:
    rows = [word("の冬"), word("の冬物"), word("コート"), word("รอง"), word("รองเ"), word("冬", tf=0.5)]
    assert interpret(spark, *rows, label_terms=10).label == "の冬物, コート, รองเ, 冬"


def test_only_so_many_terms_make_a_label(spark: SparkSession) -> None:
    rows = [word("alien"), word("ship"), word("star")]
    assert [interpret(spark, *rows, label_terms=count).label for count in (1, 2, 10)] == [
        "alien", "alien, ship", "alien, ship, star"
    ]  # fmt: skip


def test_a_description_names_words_where_there_are_no_features(spark: SparkSession) -> None:
    row = interpret(spark, *(word(f"word{place}") for place in range(7)))
    assert row.description == (
        "Fires for users whose linked items stand out by their words (word0, word1, word2, word3, word4)."
    )
    assert row.features == []


def test_equal_labels_are_told_apart_by_what_others_lack(spark: SparkSession) -> None:
    """Latents 1 and 2 differ beyond the label, 3 has nothing of its own; 4 and 5 are the same; 9 is dead."""
    terms = {
        1: [feature("Horror"), word("night"), word("alien"), word("ship")],
        2: [feature("horror"), word("night"), word("vampire")],
        3: [feature("Horror"), word("night")],
        4: [feature("War"), word("army")],
        5: [feature("War"), word("navy")],
        6: [feature("Comedy"), word("love")],
        7: [word("weak", significant=False)],
        8: [word("weak", significant=False)],
        9: [feature("Comedy"), word("farce")],
    }
    rows = [
        {"latent_id": latent, "rank": rank, **row}
        for latent, of_latent in terms.items()
        for rank, row in enumerate(of_latent, start=1)
    ]
    live = spark.createDataFrame([(latent,) for latent in range(1, 9)], "latent_id int")
    twins = spark.createDataFrame([(5, 4)], "latent_id int, same_as int")
    labels = interpret_with_terms(live, terms_of(spark, *rows), twins, InterpretationSettings(label_terms=1))
    assert {row.latent_id: row.label for row in labels.collect()} == {
        1: "Horror, alien",
        2: "horror, vampire",
        3: "Horror",
        4: "War",
        5: "War",
        6: "Comedy",
        7: "unnamed",
        8: "unnamed",
    }


def test_every_live_latent_has_one_row_and_no_other_latent_has(spark: SparkSession) -> None:
    live = spark.createDataFrame([(1,), (2,), (17,)], "latent_id int")
    terms = terms_of(
        spark,
        word("alien"),
        word("ship"),
        word("weak", latent_id=2, significant=False),
        word("dead", latent_id=5),
    )
    labels = interpret_with_terms(live, terms, no_twins(spark), InterpretationSettings())
    rows = {row.latent_id: row for row in labels.collect()}
    assert labels.count() == 3
    assert sorted(rows) == [1, 2, 17]
    assert rows[1].label == "alien, ship"
    for latent in (2, 17):
        assert rows[latent].label == "unnamed"
        assert rows[latent].status == "unlabelled"
        assert rows[latent].features == []
        assert rows[latent].description


def test_the_columns_are_those_of_the_table(spark: SparkSession) -> None:
    live = spark.createDataFrame([(1,)], "latent_id int")
    labels = interpret_with_terms(live, terms_of(spark, word("alien")), no_twins(spark), InterpretationSettings())
    declared = [field for field in CONCEPT_LABELS.schema if field.name not in ("dt", "sae_version")]
    assert [(field.name, field.dataType.simpleString()) for field in labels.schema] == [
        (field.name, field.dataType.simpleString()) for field in declared
    ]
