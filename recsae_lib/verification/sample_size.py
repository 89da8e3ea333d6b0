"""How sure a confidence is: its interval, and how many cases an interval of a wanted width needs."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

from recsae_lib.config import VerificationSettings

LEVEL = 0.95
Z = float(norm.ppf((1 + LEVEL) / 2))


def wilson_interval(correct: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the 95 % score interval of a share of right answers (Wilson 1927; Brown, Cai and DasGupta 2001).

    ::

        p = correct / cases,   z = 1.96
        (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n),   n = cases

    It takes every case for a draw with the same chance of a right answer. Cases are half positives and half
    negatives, with a chance each, which makes the share vary less: the interval is then rather too wide.

    Parameters
    ----------
    correct, cases : (L,) whole numbers.

    Returns
    -------
    (low, high) : (L,) bounds within [0, 1]; NaN without cases.
    """
    n = np.where(cases > 0, cases, np.nan)
    share = correct / n
    centre = share + Z**2 / (2 * n)
    spread = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return np.maximum((centre - spread) / scale, 0.0), np.minimum((centre + spread) / scale, 1.0)


def cases_of_each_kind(settings: VerificationSettings) -> int:
    """Number of positive cases a latent, and of negative ones: set as such, or by the wanted width of the interval.

    ::

        width(n, p) <= width(n, 1/2) = z / √(n + z²) <= w    ⇔    n >= z² (1/w² − 1)

    The width of `wilson_interval` is largest at a confidence of 1/2, so the wanted width is kept whatever the
    confidence turns out to be. A latent that too few users fire for gets fewer cases and a wider interval.

    Parameters
    ----------
    settings : `interval_width` and, where that is unset, `cases_per_kind` are read.
    """
    if settings.interval_width is None:
        return settings.cases_per_kind
    return math.ceil(Z**2 * (1 / settings.interval_width**2 - 1) / 2)
