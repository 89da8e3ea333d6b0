"""What luck does to output scores: features dealt out to items at random, and what stands out against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsae_lib.tuning.output_scores import ItemMoments, null_deviations, output_scores

STEPS = 256  # of a standard deviation, by which scores are counted
LARGEST = 64 * STEPS  # what lies beyond counts as this
RANDOM_FEATURES = 2048  # that are drawn at least, over all features of the catalogue
MOST_ITEMS = 1024  # of a random feature: a mean of more items is no farther from normal


@dataclass(frozen=True)
class Tally:
    """How far scores lie from 0, in standard deviations of their null; those of parts add up.

    Parameters
    ----------
    real : (LARGEST + 1,) int64, scores of the features of the catalogue, by how many `STEPS` they lie from 0.
    random : the same of random features.
    """

    real: np.ndarray
    random: np.ndarray

    def p_values(self, deviates: np.ndarray) -> np.ndarray:
        """Share of the scores of random features that lie as far from 0.

        ::

            p(z) = (1 + |{random scores : |z'| ≥ |z|}|) / (1 + |{random scores}|)
        """
        values: np.ndarray = self._p_values()[steps_of(deviates)]
        return values

    def q_values(self, deviates: np.ndarray) -> np.ndarray:
        """Correct `p_values` by Benjamini and Hochberg (1995) for all tests that were counted.

        ::

            q(z) = min over t ≤ |z| of  tests · p(t) / |{tests : |z'| ≥ t}|
        """
        reached = _at_least(self.real)
        share = np.divide(
            self.real.sum() * self._p_values(), reached, out=np.full(len(reached), np.inf), where=reached > 0
        )
        corrected: np.ndarray = np.minimum(np.minimum.accumulate(share), 1.0)[steps_of(deviates)]
        return corrected

    def _p_values(self) -> np.ndarray:
        return (1.0 + _at_least(self.random)) / (1.0 + self.random.sum())


def count_steps(deviates: np.ndarray) -> np.ndarray:
    """Count scores by how many `STEPS` they lie from 0, (LARGEST + 1,) int64."""
    return np.bincount(steps_of(deviates).ravel(), minlength=LARGEST + 1)


def steps_of(deviates: np.ndarray) -> np.ndarray:
    """How many whole `STEPS` scores lie from 0."""
    steps: np.ndarray = np.minimum(np.abs(deviates) * STEPS, LARGEST).astype(np.int64)
    return steps


def random_deviates(
    directions: np.ndarray, moments: ItemMoments, vectors: np.ndarray, counts: np.ndarray, seed: tuple[int, int]
) -> np.ndarray:
    """Score features of as many items as the real ones, dealt out at random, in standard deviations of their null.

    That of a feature of more than half of the items is that of all others; and of more than `MOST_ITEMS` so many are
    drawn.

    Parameters
    ----------
    directions : (rows, d).
    vectors : (n, d) item vectors; they may be mapped from a file.
    counts : (F,) items of the real features.

    Returns
    -------
    (rows, F) float64
    """
    random = np.random.default_rng(seed)
    sizes = np.minimum(np.minimum(counts, moments.count - counts), MOST_ITEMS)
    means = np.empty((len(sizes), len(moments.mean)))
    for place, size in enumerate(sizes.tolist()):
        drawn = random.choice(moments.count, size, replace=False)
        means[place] = vectors[drawn].mean(0, dtype=np.float64)
    deviates: np.ndarray = output_scores(directions, moments, means, sizes) / null_deviations(sizes, moments.count)
    return deviates


def _at_least(counts: np.ndarray) -> np.ndarray:
    reached: np.ndarray = np.cumsum(counts[::-1])[::-1]
    return reached
