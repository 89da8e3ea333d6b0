"""Scores against literals and independent computations; chance levels; one row a live latent and judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from scipy.stats import binomtest

from recsae_lib.config import VerificationSettings
from recsae_lib.interpretation.scores import expected_by_chance, score_concepts
from recsae_lib.warehouse.tables import CONCEPT_SCORES

SETTINGS = VerificationSettings()
JUDGED = "latent_id int, judge string, user_id string, kind string, fires boolean, judged boolean"
ASSOCIATION = "latent_id int, best_feature string, best_feature_auc double"
Counts = tuple[int, int, int, int]  # TP, FN, TN, FP


def judged_rows(latent: int, counts: Counts, judge: str = "terms") -> list[tuple]:
    outcomes = [(True, True), (True, False), (False, False), (False, True)]
    answers = [outcome for outcome, times in zip(outcomes, counts, strict=True) for _ in range(times)]
    return [
        (latent, judge, f"u{number}", "positive" if fires else "random", fires, judged)
        for number, (fires, judged) in enumerate(answers)
    ]


def score(
    spark: SparkSession,
    counts: dict[int, Counts],
    live: list[int] | None = None,
    association: list[tuple] | None = None,
    more: list[tuple] | None = None,
    limits: VerificationSettings = SETTINGS,
) -> DataFrame:
    rows = [row for latent, of_latent in counts.items() for row in judged_rows(latent, of_latent)] + (more or [])
    return score_concepts(
        spark.createDataFrame(rows, JUDGED),
        spark.createDataFrame([(latent,) for latent in live or sorted(counts)], "latent_id int"),
        spark.createDataFrame(association or [], ASSOCIATION),
        limits,
    )


def rows_of(scores: DataFrame, judge: str = "terms") -> dict[int, Row]:
    return {row["latent_id"]: row for row in scores.collect() if row["judge"] == judge}


def adjusted(p_values: list[float]) -> list[float]:
    """Benjamini-Hochberg from its definition: the least p m / rank over all p-values no smaller."""
    number = len(p_values)
    return [
        min(other * number / sum(third <= other for third in p_values) for other in p_values if other >= own)
        for own in p_values
    ]


def test_confusion_of_one_latent(spark: SparkSession) -> None:
    scores = score(spark, {7: (9, 1, 8, 2)}, association=[(7, "horror", 0.91)])
    (row,) = scores.collect()
    assert row.asDict() == {
        "latent_id": 7,
        "judge": "terms",
        "confidence": pytest.approx(17 / 20),
        "recall": pytest.approx(0.9),
        "specificity": pytest.approx(0.8),
        "precision": pytest.approx(9 / 11),
        "cases": 20,
        "p_value": pytest.approx((1140 + 190 + 20 + 1) / 2**20, rel=1e-12),
        "q_value": pytest.approx((1140 + 190 + 20 + 1) / 2**20, rel=1e-12),
        "interpretable": True,
        "best_feature": "horror",
        "best_feature_auc": 0.91,
    }
    declared = [
        (field.name, field.dataType) for field in CONCEPT_SCORES.schema if field.name not in ("dt", "sae_version")
    ]
    assert [(field.name, field.dataType) for field in scores.schema] == declared


def test_ratios_without_a_denominator_are_null(spark: SparkSession) -> None:
    rows = rows_of(score(spark, {1: (0, 3, 4, 0), 2: (3, 0, 0, 0), 3: (0, 0, 1, 1)}, live=[1, 2, 3, 4]))
    assert (rows[1]["recall"], rows[1]["precision"], rows[1]["specificity"]) == (0.0, None, 1.0)
    assert (rows[2]["recall"], rows[2]["precision"], rows[2]["specificity"]) == (1.0, 1.0, None)
    assert (rows[3]["recall"], rows[3]["precision"], rows[3]["confidence"]) == (None, 0.0, 0.5)
    assert rows[4].asDict() == {
        "latent_id": 4,
        "judge": "terms",
        **dict.fromkeys(["confidence", "recall", "specificity", "precision", "best_feature", "best_feature_auc"]),
        "cases": 0,
        "p_value": 1.0,
        "q_value": 1.0,
        "interpretable": False,
    }


def test_both_limits_are_needed(spark: SparkSession) -> None:
    rows = rows_of(score(spark, {1: (2, 0, 2, 0), 2: (15, 5, 16, 4), 3: (8, 2, 8, 2), 4: (5, 5, 5, 5)}))
    # p = 1/16 whatever the confidence; q small at confidence .775; exactly at the limit of confidence.
    assert [rows[latent]["confidence"] for latent in (1, 2, 3)] == [1.0, 0.775, 0.8]
    assert rows[2]["q_value"] < 0.05 <= rows[1]["q_value"]
    assert [rows[latent]["interpretable"] for latent in (1, 2, 3, 4)] == [False, False, True, False]


def test_latents_without_cases_count_in_the_correction(spark: SparkSession) -> None:
    alone = rows_of(score(spark, {1: (8, 2, 8, 2)}))[1]
    among = rows_of(score(spark, {1: (8, 2, 8, 2)}, live=list(range(20))))[1]
    assert among["p_value"] == alone["p_value"] == pytest.approx(0.00590896606)
    assert among["q_value"] == pytest.approx(20 * alone["p_value"])
    assert (alone["interpretable"], among["interpretable"]) == (True, False)


def test_judges_are_scored_and_corrected_apart(spark: SparkSession) -> None:
    by_model = judged_rows(1, (10, 0, 10, 0), "llm")
    scores = score(spark, {1: (5, 5, 5, 5), 2: (8, 2, 8, 2)}, more=by_model)
    terms, model = rows_of(scores), rows_of(scores, "llm")
    assert {latent: row["cases"] for latent, row in terms.items()} == {1: 20, 2: 20}
    assert {latent: row["cases"] for latent, row in model.items()} == {1: 20, 2: 0}
    assert model[1]["q_value"] == pytest.approx(2 / 2**20)
    assert terms[2]["q_value"] == pytest.approx(2 * terms[2]["p_value"])


def test_only_live_latents_are_scored(spark: SparkSession) -> None:
    assert sorted(rows_of(score(spark, {1: (3, 0, 3, 0), 2: (3, 0, 3, 0)}, live=[2, 3]))) == [2, 3]


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=1, max_size=25))
def test_any_counts_agree_with_binomial_test_and_definition(spark: SparkSession, counts: list[Any]) -> None:
    latents = list(range(len(counts)))
    some = any(sum(of_latent) for of_latent in counts)
    rows = rows_of(score(spark, dict(enumerate(counts)), live=latents))
    assert sorted(rows) == (latents if some else [])
    if not some:
        return
    p_values = [
        binomtest(tp + tn, tp + fn + tn + fp, 0.5, "greater").pvalue if tp + fn + tn + fp else 1.0
        for tp, fn, tn, fp in counts
    ]
    assert [rows[latent]["p_value"] for latent in latents] == pytest.approx(p_values, rel=1e-9)
    assert [rows[latent]["q_value"] for latent in latents] == pytest.approx(adjusted(p_values), rel=1e-9)
    for latent, (tp, fn, tn, fp) in enumerate(counts):
        cases = tp + fn + tn + fp
        assert rows[latent]["cases"] == cases
        assert rows[latent]["confidence"] == (pytest.approx((tp + tn) / cases) if cases else None)


def test_empty_inputs_give_no_rows(spark: SparkSession) -> None:
    assert score(spark, {}, live=[1, 2]).collect() == []
    nothing_live = score_concepts(
        spark.createDataFrame(judged_rows(1, (1, 1, 1, 1)), JUDGED),
        spark.createDataFrame([], "latent_id int"),
        spark.createDataFrame([], ASSOCIATION),
        SETTINGS,
    )
    assert nothing_live.collect() == []


def test_expected_by_chance_is_the_reference_figure() -> None:
    assert expected_by_chance(pd.Series([10] * 200 + [0] * 50), SETTINGS) == pytest.approx(200 * 56 / 1024)  # 5.5 %
    tail_of_20 = binomtest(16, 20, 0.5, "greater").pvalue
    assert expected_by_chance(pd.Series([20, 4, 4]), SETTINGS) == pytest.approx(tail_of_20 + 2 / 16)
    assert expected_by_chance(pd.Series([], dtype=np.int32), SETTINGS) == 0.0


def test_expected_by_chance_agrees_with_coins() -> None:
    coins = np.random.default_rng(5).binomial(12, 0.5, size=200_000)
    simulated = 100 * np.mean(coins / 12 >= 0.75)
    limits = VerificationSettings(confidence=0.75)
    assert expected_by_chance(pd.Series([12] * 100), limits) == pytest.approx(simulated, rel=0.05)
