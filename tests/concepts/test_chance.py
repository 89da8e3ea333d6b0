"""What a coin reaches as judge: limits in floating point, and expected numbers of units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from recsae_lib.concepts.chance import fewest_correct, units_by_chance


@given(cases=st.integers(1, 300), percent=st.integers(0, 100))
def test_fewest_correct_is_the_limit_in_floating_point_too(cases: int, percent: int) -> None:
    confidence = percent / 100
    fewest = fewest_correct(cases, confidence)
    assert fewest / cases >= confidence
    assert fewest == 0 or (fewest - 1) / cases < confidence
    assert fewest == -(-percent * cases // 100)


def test_confidence_alone_gives_the_reference_figure() -> None:
    assert units_by_chance({10: 200, 0: 50}, 0.8) == pytest.approx(200 * (45 + 10 + 1) / 1024)  # 5.5 %
    assert units_by_chance({4: 3}, 0.0) == pytest.approx(3)
    assert units_by_chance({}, 0.8) == 0.0


def test_a_p_value_limit_may_ask_for_more_than_the_confidence() -> None:
    # 15 of 20 has p = .0207 and 16 of 20 p = .0059: the limit decides at .6, the confidence at .9.
    fifteen, sixteen, eighteen = (binomtest(correct, 20, 0.5, "greater").pvalue for correct in (15, 16, 18))
    assert units_by_chance({20: 100}, 0.6, 0.02) == pytest.approx(100 * sixteen)
    assert units_by_chance({1: 100}, 0.6, 0.5) == 0.0  # below the limit, not at it
    assert units_by_chance({1: 100}, 0.6, 0.51) == pytest.approx(50)
    assert units_by_chance({20: 100}, 0.6, 0.021) == pytest.approx(100 * fifteen)
    assert units_by_chance({20: 100}, 0.9, 0.02) == pytest.approx(100 * eighteen)
    assert units_by_chance({4: 100}, 0.6, 0.02) == 0.0  # four coins have no p-value so small


def test_coins_agree() -> None:
    coins = np.random.default_rng(5).binomial(12, 0.5, size=200_000)
    assert units_by_chance({12: 100}, 0.75) == pytest.approx(100 * np.mean(coins / 12 >= 0.75), rel=0.05)
