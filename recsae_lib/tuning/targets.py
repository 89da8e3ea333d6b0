"""What a tuning is about, as a value of each item, and how directions stand to it (METHOD.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsae_lib.tuning.output_scores import ItemMoments, scores_of

BLOCK_ITEMS = 2**16


@dataclass(frozen=True)
class Target:
    """A value t_i of each item: 1 or 0 for items with a feature or that are named, or ln(1 + popularity).

    Parameters
    ----------
    values : (n,) float64.
    covariance : (d,) cov(e_i, t_i) over all items.
    variance : of t.
    """

    values: np.ndarray
    covariance: np.ndarray
    variance: float

    @classmethod
    def of(cls, values: np.ndarray, vectors: np.ndarray, moments: ItemMoments) -> Target:
        """Target of item values (n,), seen through item vectors (n, d)."""
        centred = values - values.mean()
        products = np.zeros(vectors.shape[1])
        for start in range(0, len(values), BLOCK_ITEMS):
            part = slice(start, start + BLOCK_ITEMS)
            products += centred[part] @ (vectors[part].astype(np.float64) - moments.mean)
        return cls(values, products / max(len(values), 1), float(np.mean(centred**2)))

    @property
    def contrast(self) -> np.ndarray:
        """cov(e, t) / var(t), (d,): of 0 and 1 the mean vector of the items with it less that of the others."""
        return self.covariance / self.variance if self.variance > 0 else np.zeros_like(self.covariance)

    def scores(self, directions: np.ndarray, moments: ItemMoments) -> np.ndarray:
        """Output score of each direction, (rows,): the gain of t along it, in standard deviations of all effects."""
        return scores_of(directions, moments, self.contrast[None])[:, 0]

    def probe(self, moments: ItemMoments, penalty: float = 0.01) -> np.ndarray:
        """Weights of a ridge regression of t on the item vectors, (d,): (C + λ tr(C)/d I)⁻¹ cov(e, t)."""
        d = len(self.covariance)
        ridge = penalty * float(np.trace(moments.covariance)) / d
        weights: np.ndarray = np.linalg.solve(moments.covariance + (ridge or 1.0) * np.eye(d), self.covariance)
        return weights


def sparse_code(
    direction: np.ndarray, atoms: np.ndarray, usable: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Explain a direction by a few atoms, by orthogonal matching pursuit (Pati et al. 1993).

    Parameters
    ----------
    direction : (d,)
    atoms : (M, d) decoder rows.
    usable : (M,) bool, atoms that may be chosen.
    most : atoms at most.

    Returns
    -------
    (atoms, weights) : the chosen places in the order of choice, and their weights; empty for a direction of length 0.
    """
    atoms = np.asarray(atoms, dtype=np.float64)
    lengths = np.linalg.norm(atoms, axis=1)
    usable = usable & (lengths > 0)
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=usable)
    chosen: list[int] = []
    weights = np.empty(0)
    rest = np.asarray(direction, dtype=np.float64)
    smallest = 1e-9 * float(np.linalg.norm(rest))
    while len(chosen) < min(most, int(usable.sum())) and np.linalg.norm(rest) > smallest:
        agreement = np.abs(atoms @ rest) * inverse
        agreement[chosen] = 0.0
        chosen.append(int(agreement.argmax()))
        weights = np.linalg.lstsq(atoms[chosen].T, direction, rcond=None)[0]
        rest = direction - weights @ atoms[chosen]
    return np.array(chosen, dtype=np.int64), weights
