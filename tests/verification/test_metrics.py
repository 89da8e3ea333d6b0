"""Metrics from scores counted by hand; whole tables of metrics are compared in the audit of the planted data."""

from __future__ import annotations

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.verification.known_cases import MISJUDGED
from recsae_lib.verification.metrics import (
    association_metrics,
    counts_line,
    dictionary_metrics,
    llm_metrics,
    mean,
    over_seeds,
    recorded_metrics,
    user_metrics,
    verdict_metrics,
)

SETTINGS = VerificationSettings(cases_per_kind=5)
# Three units with ten cases of equal weight, one with four, one with none.
SCORES = pd.DataFrame(
    {
        "cases": [500, 10, 10, 4, 0],
        "effective_cases": [10.9, 10.0, 10.2, 4.0, 0.0],
        "interpretable": [True, True, False, False, False],
        "confidence": [1.0, 0.9, 0.5, 0.25, None],
    }
)


def test_units_are_counted_beside_what_a_coin_reaches() -> None:
    assert verdict_metrics(SCORES, SETTINGS) == {
        "live_units": 5.0,
        "judged_units": 4.0,
        "interpretable_units": 2.0,
        "interpretable_units_expected_by_chance": pytest.approx(3 * 56 / 1024 + 1 / 16),  # 8 of 10 or more, 4 of 4
        "mean_confidence": pytest.approx(2.65 / 4),
        "confidence_p10": 0.25,
        "confidence_p50": 0.5,
        "confidence_p90": 0.9,
    }


def test_without_cases_there_is_no_confidence() -> None:
    metrics = verdict_metrics(SCORES[4:], SETTINGS)
    assert (metrics["live_units"], metrics["judged_units"]) == (1.0, 0.0)
    assert [metrics[name] for name in ("mean_confidence", "confidence_p10", "confidence_p90")] == [None] * 3


# Unit 0 is confirmed; 1 is not causal by its p-value, 2 not found again, 3 has no name, 4 was measured by nothing.
MEASURED = SCORES.assign(
    latent_id=[10, 11, 12, 13, 14],
    interpretable=[True, True, True, False, False],
    removal_effect=[0.5, 0.5, 0.25, 0.75, None],
    removal_p_value=[0.01, 0.5, 0.01, 0.01, None],
    removal_other=[0.25, 0.0, 0.0, 0.75, None],
    removal_equal_dose=[0.125, 0.0, 0.0, -0.125, None],
    found_again=[0.9, 0.75, 0.0, 0.8, None],
    auc=[1.0, 0.5, 0.75, None, None],
    hard_auc=[0.75, 0.25, None, None, None],
    best_feature=None,
    best_feature_auc=None,
    best_feature_p_value=None,
)
FEATURES = pd.DataFrame(
    [(10, "war", 50), (11, "war", 50), (11, "space", 49), (12, "sea", 5), (13, "rare", 5), (13, "film", 900)],
    columns=["latent_id", "term", "items"],
)


def test_a_dictionary_is_measured_by_hand() -> None:
    metrics = dictionary_metrics(MEASURED, FEATURES, {5: 6, 50: 2}, SETTINGS)
    expected = {
        **verdict_metrics(MEASURED, SETTINGS),
        **association_metrics(MEASURED),
        "confirmed_units": 1.0,
        "causal_units": 3.0,
        "found_again_units": 3.0,
        "found_again_share": 0.75,
        "mean_auc": 0.75,
        "mean_hard_auc": 0.5,
        "mean_removal_effect": 0.5,
        "mean_removal_other": 0.25,
        "mean_removal_equal_dose": 0.0,
        "feature_coverage_of_interpretable": 3 / 6,  # war, space and sea
        "feature_coverage_of_interpretable_50": 1 / 2,
        "feature_coverage_of_confirmed": 1 / 6,
        "feature_coverage_of_confirmed_50": 1 / 2,
    }
    assert metrics == expected


def test_units_that_were_drawn_stand_for_all() -> None:
    of_drawn = dictionary_metrics(MEASURED, FEATURES, {5: 6, 50: 2}, SETTINGS)
    of_all = dictionary_metrics(MEASURED, FEATURES, {5: 6, 50: 2}, SETTINGS, live=20)
    counted = ("live", "interpretable", "confirmed", "causal", "found_again", "best_feature")
    assert [of_all[f"{name}_units"] for name in counted] == [20.0, 12.0, 4.0, 12.0, 12.0, 0.0]
    by_chance = "interpretable_units_expected_by_chance"
    assert of_all[by_chance] == pytest.approx(4 * (of_drawn[by_chance] or 0))
    assert {name for name, value in of_all.items() if value is None} >= {
        f"feature_coverage_of_{of}{suffix}" for of in ("interpretable", "confirmed") for suffix in ("", "_50")
    }
    same = ("judged_units", "mean_confidence", "found_again_share", "mean_hard_auc", "mean_removal_effect")
    assert [of_all[name] for name in same] == [of_drawn[name] for name in same]


def test_nothing_looked_for_is_not_measured() -> None:
    unknown = MEASURED.assign(found_again=float("nan"), removal_effect=float("nan"), removal_p_value=float("nan"))
    metrics = dictionary_metrics(unknown, FEATURES[:0], {5: 0, 50: 0}, SETTINGS)
    none = ("found_again_units", "found_again_share", "mean_removal_effect", "feature_coverage_of_interpretable")
    assert [metrics[name] for name in none] == [None] * 4
    assert (metrics["confirmed_units"], metrics["causal_units"]) == (0.0, 0.0)


def test_seeds_give_mean_and_interval_by_hand() -> None:
    of_each = [
        {"confirmed_units": 10.0, "fvu": 0.5, "live_units": 90.0, "mean_hard_auc": None},
        {"confirmed_units": 12.0, "fvu": 0.5, "live_units": 80.0, "mean_hard_auc": 0.75},
        {"confirmed_units": 17.0, "fvu": None, "live_units": 70.0, "mean_hard_auc": None},
    ]
    spread = 4.302653 * (((10 - 13) ** 2 + (12 - 13) ** 2 + (17 - 13) ** 2) / 2 / 3) ** 0.5
    assert over_seeds(of_each) == {
        **of_each[0],  # the figures are those of the first
        "seeds": 3.0,
        "confirmed_units_mean": 13.0,
        "confirmed_units_low": pytest.approx(13 - spread),
        "confirmed_units_high": pytest.approx(13 + spread),
        "fvu_mean": 0.5,
        "fvu_low": 0.5,
        "fvu_high": 0.5,
    }
    assert over_seeds(of_each[:1]) == {**of_each[0], "seeds": 1.0}


def test_ends_that_cannot_be_are_moved() -> None:
    names = ("confirmed_units", "found_again_share", "mean_removal_effect")
    found = over_seeds([dict.fromkeys(names, 0.25), dict.fromkeys(names, 0.75)])
    ends = [(found[f"{name}_low"], found[f"{name}_high"]) for name in names]
    reach = 12.706 * 0.25  # t of one degree of freedom times sd/√2
    assert ends == [
        (0.0, pytest.approx(0.5 + reach, abs=0.001)),
        (0.0, 1.0),
        (pytest.approx(0.5 - reach, abs=0.001), pytest.approx(0.5 + reach, abs=0.001)),
    ]


def test_units_with_a_best_feature_are_counted() -> None:
    scores = pd.DataFrame(
        {
            "best_feature": ["war", None, None],
            "best_feature_auc": [0.75, None, None],
            "best_feature_p_value": [0.01, 0.5, None],  # the last one was not tested
        }
    )
    assert association_metrics(scores) == {
        "best_feature_units": 1.0,
        "best_feature_units_expected_by_chance": pytest.approx(0.02),
        "mean_best_feature_auc": 0.75,
    }


def test_recorded_metrics_are_sorted_by_kind() -> None:
    of_recommender = {"test_hr_at_5": 0.5, "popularity_hr_at_5": 0.25, "item_knn_hr_at_5": 0.125, "best_epoch": 3.0}
    of_sae = {
        "fvu": 0.2,
        "ndcg_at_10_kept": 0.9,
        "reconstructed_hr_at_5": 0.4,
        "original_hr_at_5": 0.5,
        "epoch_fvu": 0.3,
    }
    assert recorded_metrics(of_recommender, of_sae, rejected=1, accepted=3) == {
        (UnitKind.RECOMMENDER, "hr_at_5"): 0.5,
        (UnitKind.POPULARITY, "hr_at_5"): 0.25,
        (UnitKind.ITEM_KNN, "hr_at_5"): 0.125,
        (UnitKind.SAE, "fvu"): 0.2,
        (UnitKind.SAE, "ndcg_at_10_kept"): 0.9,
        (UnitKind.RECONSTRUCTED, "hr_at_5"): 0.4,
        (UnitKind.SAE, "reject_share"): 0.25,
    }
    assert recorded_metrics({}, {}, 0, 0) == {(UnitKind.SAE, "reject_share"): 0.0}


def test_every_user_counts_once_however_far_out(spark: SparkSession) -> None:
    fvu = [0.25] * 5 + [0.5] * 3 + [1.5, 1e9]
    rows = [(f"u{n}", value, 80.0 if value > 2 else 0.5) for n, value in enumerate(fvu)]
    rows.append(("on the mean", None, 0.0))
    metrics = user_metrics(spark.createDataFrame(rows, "user_id string, fvu double, distance double"))
    assert metrics == {
        (UnitKind.SAE, "fvu_by_user_median"): 0.375,
        (UnitKind.SAE, "fvu_by_user_p90"): pytest.approx(2.35),  # a tenth of the way from 1.5 to 10
        (UnitKind.SAE, "worse_than_mean_share"): 0.2,
        (UnitKind.SAE, "users_beyond_reach"): 1.0,
    }
    of_earlier = spark.createDataFrame([("u", None, None)], "user_id string, fvu double, distance double")
    assert user_metrics(of_earlier)[UnitKind.SAE, "fvu_by_user_median"] is None


def test_metrics_of_the_language_model_have_a_prefix(spark: SparkSession) -> None:
    columns = "latent_id int, judge string, cases int, effective_cases double, interpretable boolean, confidence double"
    rows = [
        (1, "terms", 900, 70.5, True, 0.9),
        (1, "llm", 10, 10.0, True, 0.8),
        (2, "terms", 900, 70.5, True, 0.9),
        (2, "llm", 0, 0.0, False, None),
    ]
    cases = [(1, "u1", "terms", True), (1, "u1", "llm", True), (2, "u1", "terms", True)]
    cases_of_both = spark.createDataFrame(cases, "latent_id int, user_id string, judge string, judged boolean")
    reasons = [(MISJUDGED,), ("no answer",)]
    rejects = spark.createDataFrame(reasons, "reason string")
    metrics = llm_metrics(spark.createDataFrame(rows, columns), cases_of_both, rejects, SETTINGS)
    assert {kind for kind, _ in metrics} == {UnitKind.SAE}
    named = {name: value for (_, name), value in metrics.items()}
    assert (named["llm_live_units"], named["llm_judged_units"], named["llm_mean_confidence"]) == (2.0, 1.0, 0.8)
    assert (named["llm_fully_judged_units"], named["llm_interpretable_units"]) == (1.0, 1.0)
    assert (named["judge_agreement"], named["interpretable_by_both_judges"]) == (1.0, 1.0)
    assert (named["llm_refused_answers"], named["llm_known_cases_misjudged"]) == (2.0, 1.0)


def test_counts_are_shown_in_one_line() -> None:
    counts = {"live_units": 32.0, "interpretable_units": 12.0, "confirmed_units": 7.0}
    metrics = {(UnitKind.UNTRAINED, name): value for name, value in counts.items()}
    assert counts_line(UnitKind.UNTRAINED, metrics) == "untrained: 32 live units, 12 interpretable, 7 confirmed"
    assert counts_line(UnitKind.SAE, metrics) == "sae: 0 live units, 0 interpretable, 0 confirmed"


def test_a_mean_does_not_depend_on_the_order() -> None:
    values = pd.Series([1e16, 1.0, -1e16, 1.0])
    assert mean(values) == mean(values[::-1]) == 0.5
    assert mean(values[:0]) is None
