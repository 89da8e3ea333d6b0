"""The term scorer: literal scores, best thresholds, and the whole chain up to scores on a planted truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import balanced_accuracy_score

from recsae_lib.platform.warehouse.tables import VERIFICATION_CASES
from recsae_lib.verification.term_judge import best_threshold, case_scores, judge_by_terms

CASES = "construct boolean, latent_id int, user_id string, kind string, fires boolean"
LINKED = {
    "anna": ["alien", "solaris"],
    "bert": ["alien", "heat", "alien"],
    "carl": ["heat"],
    "dora": [],
    "emil": ["solaris", "alien"],
    "finn": ["unknown", "alien"],
    "gina": ["ran", "ran", "unknown", "lost"],
    "ivan": ["kes", "unknown"],
    "hans": ["kagemusha", "unknown"],
    "kurt": ["kagemusha", "unknown", "lost"],
}
ITEM_TERMS = [
    ("alien", "space", "word", 2),
    ("alien", "Horror", "feature", 1),
    ("solaris", "space", "word", 1),
    ("solaris", "Drama", "feature", 1),
    ("heat", "horror", "word", 3),
    ("heat", "Drama", "feature", 1),
    ("ran", "war", "word", 9),
    ("kes", "war", "word", 4),
    ("kagemusha", "war", "word", 6),
]
CONCEPT_TERMS = [
    (1, "space", "word", 0.3, True),
    (1, "Horror", "feature", 0.1, True),
    (1, "Drama", "feature", 0.05, False),
    (2, "Drama", "feature", 0.2, True),
    (4, "war", "word", 0.1, True),
]


def frames(spark: SparkSession) -> tuple[DataFrame, DataFrame, DataFrame]:
    return (
        spark.createDataFrame(list(LINKED.items()), "user_id string, item_ids array<string>"),
        spark.createDataFrame(ITEM_TERMS, "item_id string, term string, kind string, occurrences bigint")
        .groupBy("item_id")
        .agg(F.collect_list(F.struct("term", "kind", "occurrences")).alias("terms")),
        spark.createDataFrame(
            CONCEPT_TERMS, "latent_id int, term string, kind string, tf double, significant boolean"
        ).withColumn("lift", F.lit(math.e)),
    )


def positives_and_negatives(
    spark: SparkSession, construct: bool, latents: dict[int, tuple[list[str], list[str]]]
) -> DataFrame:
    rows = [
        (construct, latent, user, "positive" if fires else "random", fires)
        for latent, (positives, negatives) in latents.items()
        for fires, users in ((True, positives), (False, negatives))
        for user in users
    ]
    return spark.createDataFrame(rows, CASES)


def test_scores_of_cases() -> None:
    # Terms 7 and 3 are the latent's, 5 is of another one. Case 0: 7 twice and 3; case 1 has nothing; 2 as 0, otherwise.
    cases = np.array([0, 0, 0, 2, 2, 2, 3])
    terms = np.array([7, 5, 3, 3, 7, 7, 3])
    occurrences = np.array([2.0, 9.0, 1.0, 1.0, 1.0, 1.0, 4.0])
    linked_items = np.array([2, 1, 2, 3], dtype=np.int32)
    scores = case_scores(cases, terms, occurrences, linked_items, np.array([7, 3]), np.array([0.3, 0.1]))
    assert scores == pytest.approx([(2 * 0.3 + 0.1) / 2, 0.0, (2 * 0.3 + 0.1) / 2, 4 * 0.1 / 3], rel=1e-9)
    assert scores[0] == scores[2]  # bit for bit
    nothing = np.array([], dtype=np.int64)
    assert case_scores(cases, terms, occurrences, linked_items, nothing, nothing.astype(float)).tolist() == [0.0] * 4


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), pairs=st.integers(0, 60), of_latent=st.integers(0, 8))
def test_scores_agree_with_the_equation_in_whatever_order(seed: int, pairs: int, of_latent: int) -> None:
    random = np.random.default_rng(seed)
    cases, terms = random.integers(0, 5, pairs), random.integers(-9, 9, pairs)
    occurrences, linked_items = random.integers(1, 6, pairs).astype(float), random.integers(1, 9, 5)
    latent_terms, weights = random.permutation(np.arange(-9, 9))[:of_latent], random.normal(size=of_latent)
    scores = case_scores(cases, terms, occurrences, linked_items, latent_terms, weights)
    by_term = dict(zip(latent_terms.tolist(), weights.tolist(), strict=True))
    expected = np.zeros(5)
    for case, term, number in zip(cases, terms.tolist(), occurrences, strict=True):
        expected[case] += by_term.get(term, 0.0) * number
    assert scores == pytest.approx(expected / linked_items, rel=1e-9, abs=1e-9)
    order, own = random.permutation(pairs), random.permutation(of_latent)
    again = case_scores(cases[order], terms[order], occurrences[order], linked_items, latent_terms[own], weights[own])
    assert again.tolist() == scores.tolist()


def test_judgement_follows_the_threshold_of_the_construct_half(spark: SparkSession) -> None:
    construct = {1: (["anna"], ["carl"]), 3: (["anna"], ["carl"]), 4: (["gina"], ["ivan"]), 5: (["anna"], ["carl"])}
    verify = {
        1: (["bert", "dora", "finn"], ["emil", "nobody"]),
        2: (["anna"], ["dora"]),
        3: (["finn"], ["bert"]),
        4: (["hans"], ["kurt"]),
    }
    cases = positives_and_negatives(spark, True, construct).union(positives_and_negatives(spark, False, verify))
    judged = judge_by_terms(cases, *frames(spark))
    assert not judged.where("judged_by_shuffled").count()  # there were none
    judged = judged.drop("judged_by_shuffled")
    # Latent 1: threshold .2875, between carl's .05 (an insignificant term counts; the word horror is not the feature)
    # and anna's .525. Latent 2: no construct cases. Latent 3: no terms. Latent 4: threshold .25, between gina's .9 / 3
    # (an item that stands twice counts once, one without terms counts as linked) and ivan's .2; hans has .3, kurt .2.
    assert sorted(map(tuple, judged.collect())) == [
        (1, "bert", "positive", True, True),
        (1, "dora", "positive", True, False),
        (1, "emil", "random", False, True),
        (1, "finn", "positive", True, True),
        (1, "nobody", "random", False, False),
        (2, "anna", "positive", True, False),
        (2, "dora", "random", False, False),
        (3, "bert", "random", False, False),
        (3, "finn", "positive", True, False),
        (4, "hans", "positive", True, True),
        (4, "kurt", "random", False, False),
    ]
    declared = {field.name: field.dataType for field in VERIFICATION_CASES.schema}
    assert {field.name: field.dataType for field in judged.schema} == {
        name: declared[name] for name in ("latent_id", "user_id", "kind", "fires", "judged")
    }


def test_shuffled_terms_have_a_threshold_of_their_own(spark: SparkSession) -> None:
    construct = {1: (["anna"], ["carl"]), 4: (["carl"], ["ivan"])}
    verify = {1: (["bert"], ["dora"]), 4: (["emil"], ["hans"])}
    cases = positives_and_negatives(spark, True, construct).union(positives_and_negatives(spark, False, verify))
    linked, item_terms, terms = frames(spark)
    terms = terms.where("latent_id in (1, 4)")
    swapped = terms.withColumn("latent_id", 5 - F.col("latent_id"))

    def said(frame: DataFrame, column: str) -> dict[tuple[int, str], bool]:
        return {(row["latent_id"], row["user_id"]): row[column] for row in frame.collect()}

    both = judge_by_terms(cases, linked, item_terms, terms, swapped)
    assert said(both, "judged") == said(judge_by_terms(cases, linked, item_terms, terms), "judged")
    # Nobody of latent 1 has an item about war. Of latent 4 carl has drama and ivan has not; hans has none, emil has.
    assert said(both, "judged_by_shuffled") == {
        (1, "bert"): False,
        (1, "dora"): False,
        (4, "emil"): True,
        (4, "hans"): False,
    }
    assert said(both, "judged")[4, "emil"] is False


def threshold_of(cases: list[tuple[bool, float]]) -> float:
    fires, scores = zip(*cases, strict=True)
    return best_threshold(np.array(fires), np.array(scores))


def test_thresholds_and_their_ties() -> None:
    yes, no = True, False
    scored = {
        1: [(yes, 0.9), (yes, 0.7), (no, 0.3), (no, 0.1)],
        2: [(yes, 1.0), (no, 0.75), (yes, 0.5), (no, 0.0)],  # .25 and .875 are as good: the wider gap
        3: [(yes, 0.75), (no, 0.5), (yes, 0.25), (no, 0.0)],  # gaps alike: the higher
        4: [(yes, 0.0), (no, 0.0)],  # nothing to tell them apart: nothing exceeds the largest
        5: [(yes, 0.5)],
        6: [(no, 0.5)],
        7: [(yes, 0.2), (no, 0.8)],  # never above chance: either everything below or nothing fires
        8: [(yes, 0.9)] * 1 + [(yes, 0.2)] + [(no, 0.5)] * 5 + [(no, 0.1)],  # both halves weigh the same
    }
    assert {latent: threshold_of(cases) for latent, cases in scored.items()} == {
        1: pytest.approx(0.5),
        2: 0.25,
        3: 0.625,
        4: 0.0,
        5: math.inf,
        6: math.inf,
        7: 0.8,
        8: pytest.approx(0.7),
    }
    assert best_threshold(np.zeros(0, dtype=bool), np.zeros(0)) == math.inf


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    positives=st.lists(st.integers(0, 12), min_size=1, max_size=9), negatives=st.lists(st.integers(0, 12), min_size=1)
)
def test_no_threshold_is_better_than_the_chosen_one(positives: list[int], negatives: list[int]) -> None:
    fires = np.array([True] * len(positives) + [False] * len(negatives))
    scores = np.array(positives + negatives) / 8

    def accuracy(threshold: float) -> float:
        return float(balanced_accuracy_score(fires, scores > threshold))

    assert accuracy(best_threshold(fires, scores)) == pytest.approx(max(accuracy(n / 16) for n in range(-1, 26)))
