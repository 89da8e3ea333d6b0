"""What a coin would reach as judge: the level that confidence and the number of counted units are held against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import binom


def fewest_correct(cases: int, confidence: float) -> int:
    """Smallest number of right answers c with c / cases >= confidence, by the division that confidence is made with."""
    return int(np.argmax(np.arange(cases + 1) / cases >= confidence))


def units_by_chance(units_by_cases: Mapping[int, int], confidence: float, p_value_below: float = np.inf) -> float:
    """How many units a coin as judge would let reach a confidence, and a p-value (METHOD.md section 6).

    ::

        Σ_units P(X / cases >= confidence and P(Binomial(cases, 1/2) >= X) < p_value_below),   X ~ Binomial(cases, 1/2)

    Parameters
    ----------
    units_by_cases : number of units by number of judged cases; units without cases reach nothing.
    confidence : share of right answers that is asked for.
    p_value_below : limit of the p-value; none unless given.
    """
    expected = 0.0
    for cases, units in units_by_cases.items():
        if cases > 0:
            tails = binom.sf(np.arange(-1, cases), cases, 0.5)  # P(Binomial >= c) for c = 0 … cases
            enough = np.flatnonzero(tails[fewest_correct(cases, confidence) :] < p_value_below)
            if len(enough):
                expected += units * float(tails[fewest_correct(cases, confidence) + enough[0]])
    return expected
