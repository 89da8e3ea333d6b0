"""What a direction does to the items with a feature (METHOD.md section 8): scores from moments of item vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ItemMoments:
    """Moments of the item vectors of a recommender, over its whole catalogue.

    Parameters
    ----------
    count : n, items.
    mean : (d,) float64.
    covariance : (d, d) float64, with n in the denominator.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, block_items: int = 2**16) -> ItemMoments:
        """Moments of (n, d) vectors, in blocks of items, so that a mapped file is never held whole."""
        count, dimension = vectors.shape
        total, products = np.zeros(dimension), np.zeros((dimension, dimension))
        for start in range(0, count, block_items):
            total += vectors[start : start + block_items].sum(0, dtype=np.float64)
        mean = total / max(count, 1)
        for start in range(0, count, block_items):
            centred = vectors[start : start + block_items].astype(np.float64) - mean
            products += centred.T @ centred
        return cls(count, mean, products / max(count, 1))

    def deviations(self, directions: np.ndarray) -> np.ndarray:
        """Standard deviation of e_i · direction over all items, (rows,) of (rows, d) directions."""
        variances = np.einsum("ld,de,le->l", directions, self.covariance, directions, optimize=True)
        return np.sqrt(np.maximum(variances, 0.0))


def output_scores(
    directions: np.ndarray, moments: ItemMoments, feature_means: np.ndarray, feature_counts: np.ndarray
) -> np.ndarray:
    """How far a step along a direction lifts the items with a feature above the others.

    ::

        effect_li = e_i · W_dec,l
        score_lf  = (mean of effect over the items with f − mean over the others) / sd over all items

    Both means are linear in the vectors, so that no effect of a single item is computed.

    Parameters
    ----------
    directions : (rows, d) W_dec, or other directions.
    feature_means : (F, d) mean vector of the items with each feature.
    feature_counts : (F,) items with each feature.

    Returns
    -------
    (rows, F) float64; 0 where a feature is that of no item or of all, or a direction moves no item against another.
    """
    return scores_of(directions, moments, contrasts(moments, feature_means, feature_counts))


def scores_of(directions: np.ndarray, moments: ItemMoments, gaps: np.ndarray) -> np.ndarray:
    """Output scores of directions (rows, d) for contrasts (F, d), (rows, F) float64; 0 where nothing moves."""
    directions = np.asarray(directions, dtype=np.float64)
    deviations = moments.deviations(directions)
    usable = deviations > 1e-12 * np.maximum(np.abs(deviations).max(initial=0.0), 1e-300)
    inverse = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=usable)
    scores: np.ndarray = (directions @ gaps.T) * inverse[:, None]
    return scores


def contrasts(moments: ItemMoments, feature_means: np.ndarray, feature_counts: np.ndarray) -> np.ndarray:
    """Mean vector of the items with each feature less that of all other items, (F, d) float64.

    ::

        mean_f − mean_rest = (mean_f − mean) n / (n − n_f)
    """
    counts = np.asarray(feature_counts, dtype=np.float64)
    others = moments.count - counts
    usable = (counts > 0) & (others > 0)
    factor = np.divide(moments.count, others, out=np.zeros_like(counts), where=usable)
    gaps: np.ndarray = (np.asarray(feature_means, dtype=np.float64) - moments.mean) * factor[:, None]
    gaps[~usable] = 0.0
    return gaps


def null_deviations(feature_counts: np.ndarray, item_count: int) -> np.ndarray:
    """Standard deviation of an output score when the feature is dealt out to as many items at random (its mean is 0).

    ::

        n / √((n − 1) n_f (n − n_f))        of all permutations, drawn without replacement (Cochran 1977, section 2.5)

    Returns
    -------
    (F,) float64; infinite where a feature is that of no item or of all.
    """
    counts = np.asarray(feature_counts, dtype=np.float64)
    variances = (item_count - 1.0) * counts * (item_count - counts)
    roots = np.sqrt(np.maximum(variances, 0.0))
    return np.divide(item_count, roots, out=np.full_like(roots, np.inf), where=roots > 0)
