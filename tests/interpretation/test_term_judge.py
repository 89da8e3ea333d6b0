"""The term scorer: literal scores, best thresholds, and the whole chain up to scores on a planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import balanced_accuracy_score

from recsae_lib.interpretation.term_judge import case_scores, choose_thresholds, judge_by_terms
from recsae_lib.warehouse.tables import VERIFICATION_CASES

CASES = "latent_id int, user_id string, kind string, fires boolean"
LINKED = {
    "anna": ["alien", "solaris"],
    "bert": ["alien", "heat", "alien"],
    "carl": ["heat"],
    "dora": [],
    "emil": ["solaris", "alien"],
    "finn": ["unknown", "alien"],
}
ITEM_TERMS = [
    ("alien", "space", "word", 2),
    ("alien", "Horror", "feature", 1),
    ("solaris", "space", "word", 1),
    ("solaris", "Drama", "feature", 1),
    ("heat", "horror", "word", 3),
    ("heat", "Drama", "feature", 1),
]
CONCEPT_TERMS = [
    (1, "space", "word", 0.3, True),
    (1, "Horror", "feature", 0.1, True),
    (1, "Drama", "feature", 0.05, False),
    (2, "Drama", "feature", 0.2, True),
]


def frames(spark: SparkSession) -> tuple[DataFrame, DataFrame, DataFrame]:
    return (
        spark.createDataFrame(list(LINKED.items()), "user_id string, item_ids array<string>"),
        spark.createDataFrame(ITEM_TERMS, "item_id string, term string, kind string, occurrences bigint"),
        spark.createDataFrame(
            CONCEPT_TERMS, "latent_id int, term string, kind string, tfidf double, significant boolean"
        ),
    )


def positives_and_negatives(spark: SparkSession, latents: dict[int, tuple[list[str], list[str]]]) -> DataFrame:
    rows = [
        (latent, user, "positive" if fires else "random", fires)
        for latent, (positives, negatives) in latents.items()
        for fires, users in ((True, positives), (False, negatives))
        for user in users
    ]
    return spark.createDataFrame(rows, CASES)


def test_scores_of_cases(spark: SparkSession) -> None:
    cases = positives_and_negatives(
        spark,
        {1: (["anna", "bert", "finn", "nobody"], ["carl", "dora", "emil"]), 2: (["anna"], ["bert"]), 3: (["anna"], [])},
    )
    rows = case_scores(cases, *frames(spark)).collect()
    scores = {(row["latent_id"], row["user_id"]): row["score"] for row in rows}
    assert len(rows) == len(scores) == 10
    assert scores == {
        (1, "anna"): pytest.approx((2 * 0.3 + 0.1 + 0.3 + 0.05) / 2),  # the insignificant drama counts as well
        (1, "bert"): pytest.approx((2 * 0.3 + 0.1 + 0.05) / 2),  # alien once; the word horror is not the feature Horror
        (1, "finn"): pytest.approx((2 * 0.3 + 0.1) / 2),  # an item without terms still counts as linked
        (1, "nobody"): 0.0,
        (1, "carl"): pytest.approx(0.05),
        (1, "dora"): 0.0,
        (1, "emil"): scores[1, "anna"],  # bit for bit, in whatever order the items stand
        (2, "anna"): pytest.approx(0.2 / 2),
        (2, "bert"): pytest.approx(0.2 / 2),
        (3, "anna"): 0.0,
    }
    assert {(row["user_id"], row["kind"], row["fires"]) for row in rows if row["latent_id"] == 2} == {
        ("anna", "positive", True),
        ("bert", "random", False),
    }


def test_judgement_follows_the_threshold_of_the_construct_half(spark: SparkSession) -> None:
    construct = positives_and_negatives(spark, {1: (["anna"], ["carl"]), 3: (["anna"], ["carl"])})
    verify = positives_and_negatives(
        spark, {1: (["bert", "dora"], ["emil", "nobody"]), 2: (["anna"], ["dora"]), 3: (["anna"], ["bert"])}
    )
    judged = judge_by_terms(construct, verify, *frames(spark))
    # Latent 1: threshold .2875 between .05 and .525. Latent 2: no construct cases. Latent 3: no terms.
    assert sorted(map(tuple, judged.collect())) == [
        (1, "bert", "positive", True, True),
        (1, "dora", "positive", True, False),
        (1, "emil", "random", False, True),
        (1, "nobody", "random", False, False),
        (2, "anna", "positive", True, False),
        (2, "dora", "random", False, False),
        (3, "anna", "positive", True, False),
        (3, "bert", "random", False, False),
    ]
    declared = {field.name: field.dataType for field in VERIFICATION_CASES.schema}
    assert {field.name: field.dataType for field in judged.schema} == {
        name: declared[name] for name in ("latent_id", "user_id", "kind", "fires", "judged")
    }


def thresholds_of(spark: SparkSession, scored: dict[int, list[tuple[bool, float]]]) -> dict[int, float]:
    rows = [(latent, fires, score) for latent, cases in scored.items() for fires, score in cases]
    frame = spark.createDataFrame(rows, "latent_id int, fires boolean, score double")
    return {row["latent_id"]: row["threshold"] for row in choose_thresholds(frame).collect()}


def test_thresholds_and_their_ties(spark: SparkSession) -> None:
    yes, no = True, False
    assert thresholds_of(
        spark,
        {
            1: [(yes, 0.9), (yes, 0.7), (no, 0.3), (no, 0.1)],
            2: [(yes, 1.0), (no, 0.75), (yes, 0.5), (no, 0.0)],  # .25 and .875 are as good: the wider gap
            3: [(yes, 0.75), (no, 0.5), (yes, 0.25), (no, 0.0)],  # gaps alike: the higher
            4: [(yes, 0.0), (no, 0.0)],  # nothing to tell them apart: nothing exceeds the largest
            5: [(yes, 0.5)],
            6: [(no, 0.5)],
            7: [(yes, 0.2), (no, 0.8)],  # never above chance: either everything below or nothing fires
            8: [(yes, 0.9)] * 1 + [(yes, 0.2)] + [(no, 0.5)] * 5 + [(no, 0.1)],  # both halves weigh the same
        },
    ) == {
        1: pytest.approx(0.5),
        2: 0.25,
        3: 0.625,
        4: 0.0,
        7: 0.8,
        8: pytest.approx(0.7),
    }


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    latents=st.lists(st.tuples(*[st.lists(st.integers(0, 12), min_size=1, max_size=9)] * 2), min_size=10, max_size=30)
)
def test_no_threshold_is_better_than_the_chosen_one(
    spark: SparkSession, latents: list[tuple[list[int], list[int]]]
) -> None:
    scored = {
        latent: [(True, score / 8) for score in positives] + [(False, score / 8) for score in negatives]
        for latent, (positives, negatives) in enumerate(latents)
    }
    chosen = thresholds_of(spark, scored)
    for latent, cases in scored.items():
        fires, scores = (np.array(column) for column in zip(*cases, strict=True))

        def accuracy(threshold: float, fires: np.ndarray = fires, scores: np.ndarray = scores) -> float:
            return float(balanced_accuracy_score(fires, scores > threshold))

        assert accuracy(chosen[latent]) == pytest.approx(max(accuracy(limit / 16) for limit in range(-1, 26)))
