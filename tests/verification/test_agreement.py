"""Agreement of two judges by the formulas, and over the cases that both have judged."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from recsae_lib.verification.agreement import case_agreement, judge_agreement


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_agreement_and_kappa_are_those_of_the_formulas(verdicts: list[tuple[bool, bool]]) -> None:
    one, other = zip(*verdicts, strict=True)
    agreement = np.mean(np.equal(one, other))
    by_chance = np.mean(one) * np.mean(other) + np.mean(np.logical_not(one)) * np.mean(np.logical_not(other))
    measured = case_agreement(Counter(verdicts))
    assert measured["judge_agreement"] == pytest.approx(agreement)
    if len({*one, *other}) == 1:
        assert measured["judge_kappa"] is None
    else:
        assert measured["judge_kappa"] == pytest.approx((agreement - by_chance) / (1 - by_chance))


def test_only_common_cases_count(spark: SparkSession) -> None:
    said = {
        "terms": {(1, "a"): True, (1, "b"): False, (1, "c"): True, (1, "d"): True, (2, "a"): True, (2, "b"): False},
        "llm": {(1, "a"): True, (1, "b"): False, (1, "c"): False, (1, "d"): True},
    }
    cases = [(latent, judge, user, fires) for judge, of in said.items() for (latent, user), fires in of.items()]
    scores = [(1, "terms", True), (1, "llm", True), (2, "terms", True), (2, "llm", False), (3, "llm", True)]
    measured = judge_agreement(
        spark.createDataFrame(cases, "latent_id int, judge string, user_id string, judged boolean"),
        spark.createDataFrame(scores, "latent_id int, judge string, interpretable boolean"),
    )
    # Agreement 3/4, by chance 3/4 · 2/4 + 1/4 · 2/4 = 1/2.
    assert measured == {"judge_agreement": 0.75, "judge_kappa": 0.5, "interpretable_by_both_judges": 1.0}


def test_nothing_in_common_is_no_agreement() -> None:
    assert case_agreement({}) == {"judge_agreement": None, "judge_kappa": None}
