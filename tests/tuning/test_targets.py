from __future__ import annotations

import numpy as np
from sklearn.linear_model import OrthogonalMatchingPursuit, Ridge

from recsae_lib.tuning.output_scores import ItemMoments
from recsae_lib.tuning.targets import Target, sparse_code


def catalogue(items: int = 300, dimension: int = 7) -> tuple[np.ndarray, np.ndarray, ItemMoments]:
    random = np.random.default_rng(4)
    vectors = (
        random.standard_normal((items, dimension)) @ random.standard_normal((dimension, dimension)) + 1.0
    ).astype(np.float32)
    return vectors, (random.random(items) < 0.2).astype(np.float64), ItemMoments.of(vectors, block_items=64)


def test_scores_agree_with_effects_of_every_item() -> None:
    vectors, values, moments = catalogue()
    directions = np.random.default_rng(1).standard_normal((5, 7))
    effects = vectors.astype(np.float64) @ directions.T
    plain = (effects[values == 1].mean(0) - effects[values == 0].mean(0)) / effects.std(0)
    np.testing.assert_allclose(Target.of(values, vectors, moments).scores(directions, moments), plain, rtol=1e-6)


def test_of_popularity_the_score_is_a_slope_over_the_spread() -> None:
    vectors, _, moments = catalogue()
    values = np.log1p(np.random.default_rng(2).integers(0, 500, len(vectors)))
    effects = vectors.astype(np.float64) @ np.eye(7)[:1].T
    slope = np.polyfit(values, effects[:, 0], 1)[0]
    found = Target.of(values, vectors, moments).scores(np.eye(7)[:1], moments)
    np.testing.assert_allclose(found, slope / effects.std(), rtol=1e-6)


def test_a_direction_that_moves_nothing_scores_zero() -> None:
    vectors, values, _ = catalogue()
    flat = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
    moments = ItemMoments.of(flat)
    assert Target.of(values, flat, moments).scores(np.eye(8)[7:], moments).tolist() == [0.0]


def test_the_probe_is_a_ridge_regression() -> None:
    vectors, values, moments = catalogue()
    penalty = 0.01 * np.trace(moments.covariance) / 7 * len(vectors)
    plain = Ridge(alpha=penalty).fit(vectors.astype(np.float64), values).coef_
    np.testing.assert_allclose(Target.of(values, vectors, moments).probe(moments), plain, rtol=1e-6)


def test_the_sparse_code_agrees_with_sklearn() -> None:
    random = np.random.default_rng(8)
    atoms = random.standard_normal((40, 12))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    direction = random.standard_normal(12)
    usable = np.ones(40, dtype=bool)
    chosen, weights = sparse_code(direction, atoms, usable, most=5)
    plain = OrthogonalMatchingPursuit(n_nonzero_coefs=5, fit_intercept=False).fit(atoms.T, direction)
    assert sorted(chosen) == np.flatnonzero(plain.coef_).tolist()
    np.testing.assert_allclose(weights, plain.coef_[chosen], rtol=1e-8)


def test_atoms_that_are_not_usable_are_not_chosen() -> None:
    atoms = np.eye(4)
    usable = np.array([False, True, True, True])
    chosen, weights = sparse_code(np.array([5.0, 1.0, 0.0, 0.0]), atoms, usable, most=2)
    assert chosen[0] == 1
    assert weights[0] == 1.0


def test_a_direction_of_no_length_has_an_empty_code() -> None:
    chosen, weights = sparse_code(np.zeros(4), np.eye(4), np.ones(4, dtype=bool), most=2)
    assert len(chosen) == 0
    assert len(weights) == 0
