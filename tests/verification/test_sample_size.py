"""Intervals against their definition; numbers of cases that keep the wanted width whatever the confidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from recsae_lib.config import VerificationSettings
from recsae_lib.verification.sample_size import Z, cases_of_each_kind, wilson_interval


@settings(deadline=None)
@given(cases=st.integers(1, 400), share=st.floats(0.0, 1.0))
def test_bounds_are_chances_two_standard_errors_from_the_share(cases: int, share: float) -> None:
    correct = round(share * cases)
    (low,), (high,) = wilson_interval(np.array([correct]), np.array([cases]))

    def surplus(chance: float) -> float:
        return (correct / cases - chance) ** 2 - Z**2 * chance * (1 - chance) / cases

    # At a share of 0 or 1 the share itself is a root, which is not the one that is meant.
    below, above = min(correct / cases, 1 - 1e-9), max(correct / cases, 1e-9)
    assert low == pytest.approx(brentq(surplus, 0.0, below) if correct else 0.0, abs=1e-9)
    assert high == pytest.approx(brentq(surplus, above, 1.0) if correct < cases else 1.0, abs=1e-9)


def test_no_cases_have_no_interval() -> None:
    low, high = wilson_interval(np.array([0, 10]), np.array([0, 20]))
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1], high[1]) == (pytest.approx(0.2993, abs=1e-4), pytest.approx(0.7007, abs=1e-4))


def test_the_interval_holds_the_chance_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    for chance in (0.5, 0.8, 0.95):
        low, high = wilson_interval(random.binomial(94, chance, 20_000), np.full(20_000, 94))
        assert np.mean((low <= chance) & (chance <= high)) == pytest.approx(0.95, abs=0.02)


@settings(deadline=None)
@given(width=st.floats(0.05, 0.95))
def test_the_fewest_cases_keep_the_width_at_any_confidence(width: float) -> None:
    per_kind = cases_of_each_kind(VerificationSettings(interval_width=width))

    def widest(cases: int) -> float:
        low, high = wilson_interval(np.arange(cases + 1), np.full(cases + 1, cases))
        return float((high - low).max())

    assert widest(2 * per_kind) <= width + 1e-9
    assert per_kind == 1 or widest(2 * (per_kind - 1)) > width


def test_a_width_goes_before_the_number_of_cases() -> None:
    assert cases_of_each_kind(VerificationSettings(cases_per_kind=7)) == 7
    # 1.96² (1 / 0.2² − 1) = 92.2
    assert cases_of_each_kind(VerificationSettings(cases_per_kind=7, interval_width=0.2)) == 47
