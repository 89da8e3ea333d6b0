"""What luck does to output scores: p-values of permuted features, and q-values over all pairs of latent and feature."""

from __future__ import annotations

import numpy as np
from scipy.special import erfc

STEPS = 256  # of a standard deviation, by which scores are counted
LARGEST = 38 * STEPS  # from 38 standard deviations on a p-value is 0 in double precision


def p_values(deviates: np.ndarray) -> np.ndarray:
    """Two-sided tail of the normal distribution of scores in standard deviations of their null."""
    tails: np.ndarray = erfc(np.abs(deviates) / np.sqrt(2.0))
    return tails


def tally(deviates: np.ndarray) -> np.ndarray:
    """Count scores by how many `STEPS` they lie from 0, (LARGEST + 1,) int64; tallies of parts add up."""
    return np.bincount(_steps(deviates).ravel(), minlength=LARGEST + 1)


def q_values(deviates: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Correct p-values by Benjamini and Hochberg (1995) for all tests that were counted.

    ::

        q(z) = min over t ≤ |z| of  tests · p(t) / |{tests : |z'| ≥ t}|,   t a multiple of 1/256

    Among the limits t the exact definition has all |z'|. So q is never below the exact one, and above it by no more
    than a step of p, e^(|z|/256) or 2 % at |z| = 5; and no more than the counts of all tests is needed.

    Parameters
    ----------
    deviates : scores in standard deviations of their null.
    counts : `tally` of all tests, these among them.
    """
    reached = np.cumsum(counts[::-1])[::-1]
    expected = counts.sum() * p_values(np.arange(LARGEST + 1) / STEPS)
    share = np.divide(expected, reached, out=np.full(LARGEST + 1, np.inf), where=reached > 0)
    corrected: np.ndarray = np.minimum(np.minimum.accumulate(share), 1.0)[_steps(deviates)]
    return corrected


def _steps(deviates: np.ndarray) -> np.ndarray:
    steps: np.ndarray = np.minimum(np.abs(deviates) * STEPS, LARGEST).astype(np.int64)
    return steps
