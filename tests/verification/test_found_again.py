"""Units found again in another dictionary: planted twins, and none where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recsae_lib.verification.found_again import find_again


def activations(users: int, units: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random((users, units)) < 0.1, random.random((users, units)) + 0.5, 0.0)


def test_permuted_units_find_their_twins() -> None:
    z = activations(500, 30, 1)
    order = np.random.default_rng(2).permutation(30)
    found = find_again(sparse.csr_matrix(z), sparse.csr_matrix(3.0 * z[:, order]))  # another scale is the same unit
    assert found.partners.tolist() == np.argsort(order).tolist()
    assert found.correlations == pytest.approx(np.ones(30), abs=1e-6)


def test_correlations_are_those_of_numpy() -> None:
    z, other = activations(300, 8, 3), activations(300, 9, 4)
    other[:, :4] += 0.7 * z[:, :4]
    found = find_again(sparse.csr_matrix(z), sparse.csr_matrix(other))
    by_numpy = np.corrcoef(z.T, other.T)[:8, 8:]
    assert found.partners[:4].tolist() == [0, 1, 2, 3]
    for unit, (correlation, partner) in enumerate(zip(*found, strict=True)):
        if partner >= 0:
            assert correlation == pytest.approx(by_numpy[unit, partner], abs=1e-5)
    assert len(set(found.partners[found.partners >= 0])) == (found.partners >= 0).sum()  # one to one


def test_strangers_and_dead_units_are_not_found() -> None:
    z, other = activations(2000, 20, 5), activations(2000, 20, 6)
    z[:, 0], other[:, 1] = 0.0, 0.0
    found = find_again(sparse.csr_matrix(z), sparse.csr_matrix(other))
    assert (found.correlations < 0.2).all()
    assert found.partners[0] == -1
    assert 1 not in found.partners
