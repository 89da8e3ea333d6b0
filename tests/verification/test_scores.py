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
from recsae_lib.platform.warehouse.tables import CONCEPT_SCORES, SHUFFLED_SCORES
from recsae_lib.verification.scores import (
    ASSOCIATION,
    expected_by_chance,
    score_concepts,
    score_shuffled,
    score_tallies,
)

SETTINGS = VerificationSettings()
JUDGED = "latent_id int, user_id string, kind string, fires boolean, judged boolean"
ASSOCIATED = (
    "latent_id int, best_feature string, best_feature_auc double, best_feature_null_auc double, "
    "best_feature_p_value double"
)
FROM_THE_JOB = ("dt", "sae_version", "llm_model", "prompt_version")
Counts = tuple[int, int, int, int]  # TP, FN, TN, FP


def judged_rows(latent: int, counts: Counts) -> list[tuple]:
    outcomes = [(True, True), (True, False), (False, False), (False, True)]
    answers = [outcome for outcome, times in zip(outcomes, counts, strict=True) for _ in range(times)]
    return [
        (latent, f"u{number}", "positive" if fires else "random", fires, judged)
        for number, (fires, judged) in enumerate(answers)
    ]


def score(
    spark: SparkSession,
    counts: dict[int, Counts],
    live: list[int] | None = None,
    association: list[tuple] | None = None,
    limits: VerificationSettings = SETTINGS,
) -> DataFrame:
    rows = [row for latent, of_latent in counts.items() for row in judged_rows(latent, of_latent)]
    return score_concepts(
        spark.createDataFrame(rows, JUDGED),
        "terms",
        spark.createDataFrame([(latent,) for latent in live or sorted(counts)], "latent_id int"),
        spark.createDataFrame(association or [], ASSOCIATED),
        limits,
    )


def rows_of(scores: DataFrame) -> dict[int, Row]:
    return {row["latent_id"]: row for row in scores.collect()}


def adjusted(p_values: list[float]) -> list[float]:
    """Benjamini-Hochberg from its definition: the least p m / rank over all p-values no smaller."""
    number = len(p_values)
    return [
        min(other * number / sum(third <= other for third in p_values) for other in p_values if other >= own)
        for own in p_values
    ]


def test_confusion_of_one_latent(spark: SparkSession) -> None:
    scores = score(spark, {7: (9, 1, 8, 2)}, association=[(7, "horror", 0.91, 0.7, 0.01)])
    (row,) = scores.collect()
    assert row.asDict() == {
        "latent_id": 7,
        "judge": "terms",
        "confidence": pytest.approx(17 / 20),
        "confidence_low": pytest.approx(0.6396, abs=5e-5),  # statsmodels' proportion_confint(17, 20, method="wilson")
        "confidence_high": pytest.approx(0.9476, abs=5e-5),
        "recall": pytest.approx(0.9),
        "specificity": pytest.approx(0.8),
        "precision": pytest.approx(9 / 11),
        "cases": 20,
        "p_value": pytest.approx((1140 + 190 + 20 + 1) / 2**20, rel=1e-12),
        "q_value": pytest.approx((1140 + 190 + 20 + 1) / 2**20, rel=1e-12),
        "interpretable": True,
        "best_feature": "horror",
        "best_feature_auc": 0.91,
        "best_feature_null_auc": 0.7,
        "best_feature_p_value": 0.01,
    }
    declared = [(field.name, field.dataType) for field in CONCEPT_SCORES.schema if field.name not in FROM_THE_JOB]
    assert [(field.name, field.dataType) for field in scores.schema] == declared


def test_ratios_without_a_denominator_are_null(spark: SparkSession) -> None:
    rows = rows_of(score(spark, {1: (0, 3, 4, 0), 2: (3, 0, 0, 0), 3: (0, 0, 1, 1)}, live=[1, 2, 3, 4]))
    assert (rows[1]["recall"], rows[1]["precision"], rows[1]["specificity"]) == (0.0, None, 1.0)
    assert (rows[2]["recall"], rows[2]["precision"], rows[2]["specificity"]) == (1.0, 1.0, None)
    assert (rows[3]["recall"], rows[3]["precision"], rows[3]["confidence"]) == (None, 0.0, 0.5)
    assert rows[4].asDict() == {
        "latent_id": 4,
        "judge": "terms",
        **dict.fromkeys(["confidence", "confidence_low", "confidence_high", "recall", "specificity", "precision"]),
        **dict.fromkeys(ASSOCIATION),
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


def test_shuffled_labels_are_scored_alike_and_name_their_latent(spark: SparkSession) -> None:
    counts = {1: (5, 5, 5, 5), 2: (8, 2, 8, 2), 3: (0, 4, 4, 0)}
    judged = spark.createDataFrame([row for item in counts.items() for row in judged_rows(*item)], JUDGED)
    live = spark.createDataFrame([(latent,) for latent in (1, 2, 3, 4)], "latent_id int")
    labels = spark.createDataFrame([(1, 2), (2, 1)], "latent_id int, label_of int")
    shuffled = score_shuffled(judged, live, labels, SETTINGS)
    declared = {field.name: field.dataType for field in SHUFFLED_SCORES.schema if field.name not in FROM_THE_JOB}
    assert {field.name: field.dataType for field in shuffled.schema} == declared
    rows, own = rows_of(shuffled), rows_of(score(spark, counts, live=[1, 2, 3, 4]))
    assert {latent: row["label_of"] for latent, row in rows.items()} == {1: 2, 2: 1, 3: None, 4: None}
    for latent, row in rows.items():
        assert {name: row[name] for name in declared if name != "label_of"} == {
            name: own[latent][name] for name in declared if name != "label_of"
        }


def test_only_live_latents_are_scored(spark: SparkSession) -> None:
    assert sorted(rows_of(score(spark, {1: (3, 0, 3, 0), 2: (3, 0, 3, 0)}, live=[2, 3]))) == [2, 3]


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=1, max_size=25))
def test_any_counts_agree_with_binomial_test_and_definition(spark: SparkSession, counts: list[Any]) -> None:
    latents = list(range(len(counts)))
    rows = rows_of(score(spark, dict(enumerate(counts)), live=latents))
    assert sorted(rows) == latents
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


def test_a_judge_of_nothing_still_has_a_row_a_live_latent(spark: SparkSession) -> None:
    rows = rows_of(score(spark, {}, live=[1, 2]))
    assert {latent: (row["confidence"], row["cases"], row["q_value"]) for latent, row in rows.items()} == {
        1: (None, 0, 1.0),
        2: (None, 0, 1.0),
    }
    none_live = spark.createDataFrame([], "latent_id int")
    judged, nothing = spark.createDataFrame(judged_rows(1, (1, 1, 1, 1)), JUDGED), spark.createDataFrame([], ASSOCIATED)
    assert score_concepts(judged, "llm", none_live, nothing, SETTINGS).collect() == []


def verdicts_of_a_null(runs: int, latents: int, per_kind: int, says_fires: float, seed: int) -> list[pd.DataFrame]:
    """Score `runs` audits whose judge knows nothing and says "fires" of this share of cases."""
    random = np.random.default_rng(seed)
    tp = random.binomial(per_kind, says_fires, (runs, latents))
    fp = random.binomial(per_kind, says_fires, (runs, latents))
    ids = np.arange(latents)
    return [
        score_tallies(
            "terms",
            pd.DataFrame(
                {"latent_id": ids, "TP": tp[run], "FN": per_kind - tp[run], "TN": per_kind - fp[run], "FP": fp[run]}
            ),
            SETTINGS,
        )
        for run in range(runs)
    ]


@pytest.mark.parametrize("says_fires", [0.5, 0.2, 0.9])
def test_under_the_null_p_is_not_too_small_and_q_rarely_passes(says_fires: float) -> None:
    runs, latents = 1500, 40
    scored = verdicts_of_a_null(runs, latents, per_kind=10, says_fires=says_fires, seed=13)
    p_values = np.concatenate([rows["p_value"] for rows in scored])
    for level in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5):
        assert np.mean(p_values <= level) <= level + 4 * np.sqrt(level / len(p_values))
    any_passes = np.mean([(rows["q_value"] < 0.05).any() for rows in scored])
    assert any_passes <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert np.mean([rows["interpretable"].mean() for rows in scored]) <= 0.05 / latents + 0.001


def test_what_is_no_null_does_pass() -> None:
    tallies = pd.DataFrame({"latent_id": range(40), "TP": 9, "FN": 1, "TN": 9, "FP": 1})
    tallies.loc[20:, ["TP", "FN", "TN", "FP"]] = 5
    scored = score_tallies("llm", tallies, SETTINGS)
    assert scored["interpretable"].tolist() == [True] * 20 + [False] * 20


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
