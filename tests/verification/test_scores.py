"""Scores against literals and independent computations; chance levels; what is interpretable and what is confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from scipy.stats import binom, binomtest

from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.tables import CONCEPT_SCORES, SHUFFLED_SCORES
from recsae_lib.verification.blocks import VERDICT
from recsae_lib.verification.scores import (
    SCORE_COLUMNS,
    UNIT_COLUMNS,
    VERDICT_COLUMNS,
    as_rows,
    expected_by_chance,
    is_confirmed,
    names_of,
    score_cases,
    score_tallies,
    score_units,
    scored,
)

SETTINGS = VerificationSettings()
FROM_THE_JOB = ("dt", "sae_version", "llm_model", "prompt_version")
Counts = tuple[int, int, int, int]  # TP, FN, TN, FP
COUNTS = st.tuples(*[st.integers(0, 12)] * 4)


def tallies(counts: Sequence[Counts], first: int = 0) -> pd.DataFrame:
    rows = pd.DataFrame(counts, columns=["TP", "FN", "TN", "FP"], dtype=np.int64).assign(hard_TN=0, hard=0)
    return rows.assign(latent_id=np.arange(len(rows)) + first)


def adjusted(p_values: list[float]) -> list[float]:
    """Benjamini-Hochberg from its definition: the least p m / rank over all p-values no smaller."""
    number = len(p_values)
    return [
        min(other * number / sum(third <= other for third in p_values) for other in p_values if other >= own)
        for own in p_values
    ]


def measured(confidences: list[float], effective: list[float], first: int = 0) -> pd.DataFrame:
    rows = pd.DataFrame({"confidence": confidences, "effective_cases": effective})
    others = {name: 0.5 for name in VERDICT if name not in rows}
    return rows.assign(latent_id=np.arange(len(rows)) + first, **others)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(COUNTS, min_size=1, max_size=25))
def test_any_counts_agree_with_binomial_test_and_definition(counts: list[Counts]) -> None:
    rows = score_tallies("llm", tallies(counts), SETTINGS)
    p_values = [
        binomtest(tp + tn, tp + fn + tn + fp, 0.5, "greater").pvalue if tp + fn + tn + fp else 1.0
        for tp, fn, tn, fp in counts
    ]
    assert rows["p_value"].tolist() == pytest.approx(p_values, rel=1e-9)
    assert rows["q_value"].tolist() == pytest.approx(adjusted(p_values), rel=1e-9)
    assert rows["cases"].tolist() == rows["effective_cases"].tolist() == [sum(of) for of in counts]
    for (tp, fn, tn, fp), confidence in zip(counts, rows["confidence"], strict=True):
        cases = tp + fn + tn + fp
        assert confidence == pytest.approx((tp + tn) / cases) if cases else np.isnan(confidence)


def test_cases_of_equal_weight_need_not_be_whole() -> None:
    right = np.arange(41)
    whole = scored("terms", measured((right / 40).tolist(), [40.0] * 41), SETTINGS)
    assert whole["p_value"].tolist() == pytest.approx(binom.sf(right - 1, 40, 0.5).tolist(), rel=1e-9)
    between = scored("terms", measured([0.75] * 3, [40.0, 40.5, 41.0]), SETTINGS)["p_value"]
    assert between[0] > between[1] > between[2]


def test_a_dictionary_is_corrected_by_itself() -> None:
    strong, weak = measured([0.9] * 4, [40.0] * 4), measured([0.62] * 400, [40.0] * 400, first_id(3))
    alone = scored("terms", strong, SETTINGS)
    beside = scored("terms", pd.concat([strong, weak], ignore_index=True), SETTINGS)
    pd.testing.assert_frame_equal(beside[:4], alone)
    assert beside["q_value"][4] == pytest.approx(float(binom.sf(24, 40, 0.5)), abs=0.03)  # 24.8 right answers of 40


def test_both_limits_are_needed() -> None:
    rows = scored("terms", measured([1.0, 0.79, 0.8, 0.5, np.nan], [4.0, 400.0, 400.0, 400.0, 0.0]), SETTINGS)
    assert rows["q_value"][1] < 0.05 <= rows["q_value"][0]
    assert rows["interpretable"].tolist() == [False, False, True, False, False]


def test_units_without_cases_count_in_the_correction() -> None:
    nothing = [(0, 0, 0, 0)] * 19
    alone, among = (score_tallies("llm", tallies([(8, 2, 8, 2), *more]), SETTINGS) for more in ([], nothing))
    assert among["p_value"][0] == alone["p_value"][0] == pytest.approx(0.00590896606)
    assert among["q_value"][0] == pytest.approx(20 * alone["p_value"][0])
    assert (alone["interpretable"][0], among["interpretable"][0]) == (True, False)
    assert (among["p_value"][1], among["q_value"][1], among["cases"][1]) == (1.0, 1.0, 0)
    assert among[["confidence", "confidence_low", "recall", "precision"]].iloc[1].isna().all()


def test_ratios_without_a_denominator_are_missing() -> None:
    rows = score_tallies("llm", tallies([(0, 3, 4, 0), (3, 0, 0, 0), (0, 0, 1, 1)]), SETTINGS)
    found = rows[["recall", "precision", "specificity"]].astype(object).where(rows.notna(), None).to_numpy().tolist()
    assert found == [[0.0, None, 1.0], [1.0, 1.0, None], [None, 0.0, 0.5]]


@pytest.mark.parametrize("prefix", ["", "shuffled_"])
def test_scores_of_the_sample_are_taken_by_prefix(prefix: str) -> None:
    own = {name: [0.1 * n for n, _ in enumerate(VERDICT)] for name in ("", "shuffled_")}
    rows = pd.DataFrame(
        {
            f"{of}{name}": [value + (of != prefix)]
            for of, values in own.items()
            for name, value in zip(VERDICT, values, strict=True)
        }
    )
    scores = score_units(rows.assign(latent_id=7), prefix, SETTINGS)
    assert scores.columns.tolist() == names_of(VERDICT_COLUMNS)
    assert (scores["latent_id"][0], scores["judge"][0]) == (7, "terms")
    taken = {name: value for name, value in zip(VERDICT, own[prefix], strict=True) if name != "cases"}
    assert {name: scores[name][0] for name in taken} == taken


def test_scores_have_the_columns_of_the_tables() -> None:
    for table, columns in (
        (CONCEPT_SCORES, SCORE_COLUMNS),
        (SHUFFLED_SCORES, f"{VERDICT_COLUMNS}, label_of int"),
    ):
        declared = {field.name: field.dataType.simpleString() for field in table.schema}
        written = dict(column.split() for column in columns.split(", "))
        assert written == {name: kind for name, kind in declared.items() if name not in FROM_THE_JOB}


def test_cases_of_a_language_model_are_counted(spark: SparkSession) -> None:
    # 9 of 10 positives, 8 of 10 negatives, of which 5 hard ones and 3 of these right; latent 8 has no answer.
    judged = [(7, "positive", True, n < 9) for n in range(10)] + [(7, "random", False, False)] * 5
    judged += [(7, "hard", False, n >= 3) for n in range(5)] + [(99, "positive", True, True)]  # 99 does not live
    cases = spark.createDataFrame(judged, "latent_id int, kind string, fires boolean, judged boolean")
    known = dict.fromkeys(names_of(UNIT_COLUMNS)) | {"best_feature": "horror", "removal_users": 30}
    live = spark.createDataFrame([(latent, *known.values()) for latent in (8, 7)], f"latent_id int, {UNIT_COLUMNS}")
    scores = score_cases(cases, "llm", live, SETTINGS)
    assert scores.columns == names_of(SCORE_COLUMNS)
    rows = {row["latent_id"]: row.asDict() for row in scores.collect()}
    assert sorted(rows) == [7, 8]
    p_value = (1140 + 190 + 20 + 1) / 2**20
    assert rows[7] == {
        "latent_id": 7,
        "judge": "llm",
        "confidence": pytest.approx(17 / 20),
        "confidence_low": pytest.approx(0.6396, abs=5e-5),  # statsmodels' proportion_confint(17, 20, method="wilson")
        "confidence_high": pytest.approx(0.9476, abs=5e-5),
        "recall": pytest.approx(0.9),
        "specificity": pytest.approx(0.8),
        "hard_specificity": pytest.approx(0.6),
        "precision": pytest.approx(9 / 11),
        "auc": None,
        "hard_auc": None,
        "cases": 20,
        "effective_cases": 20.0,
        "p_value": pytest.approx(p_value, rel=1e-9),
        "q_value": pytest.approx(2 * p_value, rel=1e-9),
        "interpretable": True,
        **known,
    }
    assert (rows[8]["confidence"], rows[8]["cases"], rows[8]["removal_users"]) == (None, 0, 30)
    assert score_cases(cases, "llm", live.limit(0), SETTINGS).collect() == []


def test_missing_numbers_are_nulls_in_rows(spark: SparkSession) -> None:
    rows = pd.DataFrame({"whole": [3.0, np.nan], "part": [0.5, np.nan], "name": ["a", None], "more": 1})
    columns = "whole int, part double, name string"
    assert [tuple(row) for row in as_rows(spark, rows, columns).collect()] == [(3, 0.5, "a"), (None, None, None)]
    assert as_rows(spark, rows[:0], columns).collect() == []


def test_confirmed_is_interpretable_causal_and_found_again() -> None:
    nan = float("nan")
    effects, p_values, found = [0.2, 0.19, nan], [0.049, 0.05, nan], [0.7, 0.69, nan]
    cases = list(product([True, False], effects, p_values, found))
    rows = pd.DataFrame(cases, columns=["interpretable", "removal_effect", "removal_p_value", "found_again"])
    assert np.flatnonzero(is_confirmed(rows, SETTINGS)).tolist() == [cases.index((True, 0.2, 0.049, 0.7))]
    loose = VerificationSettings(minimum_removal=0.1, significance=0.1, minimum_found_again=0.5)
    assert is_confirmed(rows, loose).sum() == 8  # neither a missing figure nor a unit without a name


@pytest.mark.parametrize("says_fires", [0.5, 0.2, 0.9])
def test_under_the_null_p_is_not_too_small_and_q_rarely_passes(says_fires: float) -> None:
    runs, units, per_kind = 1000, 40, 10
    random = np.random.default_rng(13)
    tp, fp = (random.binomial(per_kind, says_fires, runs * units) for _ in range(2))
    # Each run is a dictionary of its own.
    ids = np.concatenate([np.arange(units) + first_id(run) for run in range(runs)])
    counts = {"TP": tp, "FN": per_kind - tp, "TN": per_kind - fp, "FP": fp, "hard_TN": 0, "hard": 0}
    rows = score_tallies("terms", pd.DataFrame({"latent_id": ids, **counts}), SETTINGS)
    for level in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5):
        assert (rows["p_value"] <= level).mean() <= level + 4 * np.sqrt(level / len(rows))
    any_passes = (rows["q_value"] < 0.05).to_numpy().reshape(runs, units).any(1).mean()
    assert any_passes <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert rows["interpretable"].mean() <= 0.05 / units + 0.001


def test_what_is_no_null_does_pass() -> None:
    rows = score_tallies("llm", tallies([(9, 1, 9, 1)] * 20 + [(5, 5, 5, 5)] * 20), SETTINGS)
    assert rows["interpretable"].tolist() == [True] * 20 + [False] * 20


def test_expected_by_chance_is_the_reference_figure() -> None:
    assert expected_by_chance(pd.Series([10] * 200 + [0] * 50), SETTINGS) == pytest.approx(200 * 56 / 1024)  # 5.5 %
    tail_of_20 = binomtest(16, 20, 0.5, "greater").pvalue
    assert expected_by_chance(pd.Series([20.9, 4.0, 4.2]), SETTINGS) == pytest.approx(tail_of_20 + 2 / 16)
    assert expected_by_chance(pd.Series([], dtype=np.float64), SETTINGS) == 0.0
