from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.sae.kernels.selection import RUN, keep_largest, keep_reaching, n_th_largest
from tests.sae.kernels.test_block_encoder import brute_force, pre_activations


@settings(max_examples=300, deadline=None)
@given(pre_activations(), st.integers(1, 300))
def test_largest_are_kept_in_place(values: np.ndarray, k: int) -> None:
    rows, latents = values.shape
    padded = np.zeros((rows, -(-latents // RUN) * RUN), dtype=np.float32)
    padded[:, :latents] = values
    keep_largest(padded, k)
    activations, latent_ids = brute_force(values, min(k, latents))
    expected = np.zeros_like(padded)
    for row in range(rows):
        active = activations[row] > 0
        expected[row, latent_ids[row, active]] = activations[row, active]
    np.testing.assert_array_equal(padded, expected)


@settings(max_examples=300, deadline=None)
@given(pre_activations(), st.integers(1, 3000))
def test_n_th_largest_of_all_and_what_reaches_it(values: np.ndarray, number: int) -> None:
    falling = np.sort(np.maximum(values, 0), axis=1)[:, ::-1].copy()
    positive = np.sort(falling[falling > 0])[::-1]
    if not len(positive):
        return
    lowest = n_th_largest(values.reshape(-1), number)
    assert lowest == positive[min(number, len(positive)) - 1]
    kept = falling.copy()
    keep_reaching(kept, lowest, number)
    np.testing.assert_array_equal(np.sort(kept[kept > 0])[::-1], positive[:number])
    # Of those that tie, the ones of the first rows stay.
    tied = [(falling[row] == lowest).sum() - (kept[row] == lowest).sum() for row in range(len(kept))]
    first = next((row for row, lost in enumerate(tied) if lost), len(kept))
    assert not any((kept[row] == lowest).any() for row in range(first + 1, len(kept)))


@settings(max_examples=50, deadline=None)
@given(pre_activations(), st.integers(1, 20), st.sampled_from([0.5, 1.0, 1.25, 2.0, 5.0]))
def test_what_does_not_reach_the_threshold_is_not_active(values: np.ndarray, k: int, threshold: float) -> None:
    from recsae_lib.sae.kernels.block_encoder import BlockEncoder

    activations, latent_ids = (np.zeros((len(values), k), kind) for kind in (np.float32, np.int32))
    no_bias = np.zeros(values.shape[1], np.float32)
    BlockEncoder(values.shape[1]).keep(values, no_bias, 0, activations, latent_ids, threshold)
    expected = brute_force(np.where(values >= threshold, values, 0), k)
    np.testing.assert_array_equal(activations, expected[0])
    np.testing.assert_array_equal(latent_ids, expected[1])
