"""Found again: whether a dictionary that was trained from another seed has the same unit (METHOD.md section 6)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from recsae_lib.concepts.matching import match_one_to_one, nearest_pairs

SMALLEST = 0.05  # correlations below it are no pair


class FoundAgain(NamedTuple):
    """The match of each unit in the other dictionary.

    Parameters
    ----------
    correlations : (M,) float64; 0 without a match.
    partners : (M,) int64 units of the other dictionary; -1 without a match.
    """

    correlations: np.ndarray
    partners: np.ndarray


def find_again(units: sparse.csr_matrix, others: sparse.csr_matrix) -> FoundAgain:
    """Match units one to one with those of another dictionary by how they fire for the same users.

    ::

        r_lm = (Σ_u z_ul z_um / n − mean(z_l) mean(z_m)) / (sd(z_l) sd(z_m))

    The pairs are those of the greatest total correlation, no unit in more than one. Sums run over the at most k · k'
    pairs that fire for a user.

    Parameters
    ----------
    units, others : (users, M) and (users, M') activations of the same users.
    """
    users = units.shape[0]
    products = (units.T @ others).tocoo()
    (mean, deviation), (other_mean, other_deviation) = (_moments(z) for z in (units, others))
    row, column = products.row, products.col
    spread = deviation[row] * other_deviation[column]
    covariance = products.data / users - mean[row] * other_mean[column]
    correlations = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    kept = correlations >= SMALLEST
    pairs = nearest_pairs(row[kept].astype(np.int64), column[kept].astype(np.int64), correlations[kept])
    chosen = match_one_to_one(pairs)
    found = FoundAgain(np.zeros(units.shape[1]), np.full(units.shape[1], -1, dtype=np.int64))
    found.correlations[pairs.previous[chosen]] = pairs.similarities[chosen]
    found.partners[pairs.previous[chosen]] = pairs.latents[chosen]
    return found


def _moments(activations: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    users = activations.shape[0]
    mean = np.asarray(activations.sum(axis=0)).ravel() / users
    square = np.asarray(activations.multiply(activations).sum(axis=0)).ravel() / users
    return mean, np.sqrt(np.maximum(square - mean * mean, 0.0))
