from __future__ import annotations

import numpy as np

from recsae_lib.tuning.moves import Move, moved

X = np.array([[1.0, -0.0, 2.0], [0.5, 0.5, 0.5]], dtype=np.float32)
DECODER = np.array([[1, 0, 0], [0, 0.6, 0.8], [0, 1, 0]], dtype=np.float32)
ACTIVATIONS = np.array([[2.0, 1.0], [3.0, 0.0]], dtype=np.float32)
LATENT_IDS = np.array([[1, 0], [2, 0]])  # latent 0 does not fire for the second row


def move(mode: str, *latents: int, weights: tuple[float, ...] | None = None) -> Move:
    return Move(mode, np.array(latents), np.array(weights or [1.0] * len(latents)))  # type: ignore[arg-type]


def applied(one: Move, strength: float) -> np.ndarray:
    return moved(X, ACTIVATIONS, LATENT_IDS, DECODER, one, strength)


def test_the_neutral_strength_changes_no_bit() -> None:
    for mode, strength in (("multiply", 1.0), ("add", 0.0)):
        assert applied(move(mode, 0, 1, 2), strength).tobytes() == X.tobytes()


def test_removal_takes_away_what_the_latents_wrote() -> None:
    expected = X - np.array([[1.0 * 1, 2 * 0.6, 2 * 0.8], [0, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(applied(move("multiply", 0, 1), 0.0), expected, atol=1e-6)


def test_a_row_for_which_no_latent_fires_stays_to_the_bit() -> None:
    assert applied(move("multiply", 0, 1), 3.0)[1].tobytes() == X[1].tobytes()


def test_amplifying_adds_as_much_as_is_asked() -> None:
    expected = X[1] + np.array([0, 2 * 3.0, 0], dtype=np.float32)
    np.testing.assert_allclose(applied(move("multiply", 2), 3.0)[1], expected, atol=1e-6)


def test_adding_moves_everybody_by_the_weighted_rows() -> None:
    step = np.array([-0.5, 0.25 * 0.6 * 4, 0.25 * 0.8 * 4], dtype=np.float32)
    found = applied(move("add", 0, 1, weights=(-0.125, 0.25)), 4.0)
    np.testing.assert_allclose(found, X + step, atol=1e-6)
