from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.sae.kernels.block_encoder import PART_LATENTS, BlockEncoder

# Few values, so that ties abound; both zeros and a denormal number among them.
VALUES = np.array([-3.0, -1.0, -0.0, 0.0, 2.0**-140, 1.0, 1.5, 2.0], dtype=np.float32)


def brute_force(pre_activations: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest positive ones of each row by a full sort, equal ones by id, zeros behind."""
    activations = np.zeros((len(pre_activations), k), pre_activations.dtype)
    latent_ids = np.zeros((len(pre_activations), k), np.int32)
    for row, values in enumerate(pre_activations):
        order = [latent for latent in np.lexsort((np.arange(len(values)), -values)) if values[latent] > 0][:k]
        activations[row, : len(order)], latent_ids[row, : len(order)] = values[order], order
    return activations, latent_ids


def kept(
    encoder: BlockEncoder, parts: list[np.ndarray], biases: list[np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    activations, latent_ids = (np.zeros((len(parts[0]), k), kind) for kind in (np.float32, np.int32))
    first = 0
    for part, bias in zip(parts, biases, strict=True):
        encoder.keep(np.ascontiguousarray(part), bias, first, activations, latent_ids)
        first += part.shape[1]
    return activations, latent_ids


@st.composite
def pre_activations(draw: st.DrawFn) -> np.ndarray:
    rows, latents = draw(st.integers(1, 4)), draw(st.integers(1, 700))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    few = random.choice(
        VALUES, (rows, latents), p=draw(st.sampled_from([[0.125] * 8, [0.3, 0.3, 0.3, 0.1, 0, 0, 0, 0]]))
    )
    many = random.standard_normal((rows, latents)).astype(np.float32)
    mixed = np.where(random.random((rows, latents)) < draw(st.sampled_from([0.0, 0.5, 1.0])), many, few)
    # The bound of a row is where the search for the next one's begins: it may be far off.
    return mixed * draw(st.sampled_from([1.0, 1e12])) ** random.integers(-1, 2, (rows, 1), dtype=np.int32).astype("f4")


@settings(max_examples=300, deadline=None)
@given(pre_activations(), st.integers(1, 260), st.integers(1, 700), st.booleans())
def test_what_is_kept_part_by_part_is_the_top_of_a_full_sort(
    values: np.ndarray, k: int, width: int, biased: bool
) -> None:
    bias = np.random.default_rng(0).standard_normal(values.shape[1]).astype(np.float32) * np.float32(biased)
    starts = range(0, values.shape[1], width)
    parts, biases = zip(*((values[:, s : s + width], bias[s : s + width]) for s in starts), strict=True)
    encoder = BlockEncoder(values.shape[1])
    for ours, expected in zip(kept(encoder, parts, biases, k), brute_force(values + bias, k), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("dimension", "latents", "k"),
    [(16, 16, 1), (16, 64, 64), (64, 1024, 16), (64, 2 * PART_LATENTS + 5, 16), (1024, 1500, 32), (32, 65_536, 256)],
)
def test_encoding_in_blocks_is_the_top_of_the_whole_product(dimension: int, latents: int, k: int) -> None:
    random = torch.Generator().manual_seed(latents)
    centred, W_enc = torch.randn(37, dimension, generator=random), torch.randn(latents, dimension, generator=random)
    # Quarters: products and sums are exact in any order, and ties are frequent.
    centred, W_enc = (4 * centred).round() / 4, (4 * W_enc).round() / 4
    b_enc = torch.randn(latents, generator=random).round()
    activations, latent_ids = np.empty((37, k), np.float32), np.empty((37, k), np.int32)
    BlockEncoder(latents).encode(centred, W_enc, b_enc, activations, latent_ids)
    expected = brute_force((centred.double() @ W_enc.double().T + b_enc.double()).numpy(), k)
    np.testing.assert_array_equal(activations, expected[0])
    np.testing.assert_array_equal(latent_ids, expected[1])


def test_rows_without_a_positive_pre_activation_keep_nothing() -> None:
    activations, latent_ids = kept(
        BlockEncoder(100), [np.full((3, 100), -1.0, np.float32)], [np.zeros(100, np.float32)], 7
    )
    assert not activations.any()
    assert not latent_ids.any()
