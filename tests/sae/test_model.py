from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from recsae_lib.errors import InputError
from recsae_lib.sae.kernels.device_encoder import encode_on_device, top_activations
from recsae_lib.sae.model import SparseAutoencoder


def random_sae(dimension: int = 6, num_latents: int = 15, k: int = 3, seed: int = 0) -> SparseAutoencoder:
    random = torch.Generator().manual_seed(seed)
    W_enc, W_dec = torch.randn(2, num_latents, dimension, generator=random, dtype=torch.float64)
    b_enc = torch.randn(num_latents, generator=random, dtype=torch.float64)
    b_dec = torch.randn(dimension, generator=random, dtype=torch.float64)
    return SparseAutoencoder(W_enc, b_enc, W_dec / W_dec.norm(dim=1, keepdim=True), b_dec, k)


def numpy_reconstruction(sae: SparseAutoencoder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dense z (batch, M) and x̂, straight from the equations."""
    W_enc, b_enc, W_dec, b_dec = (p.detach().numpy() for p in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec))
    a = np.maximum((x - b_dec) @ W_enc.T + b_enc, 0.0)
    z = np.zeros_like(a)
    for row in range(len(x)):
        chosen = np.lexsort((np.arange(a.shape[1]), -a[row]))[: sae.k]
        z[row, chosen] = a[row, chosen]
    return z, z @ W_dec + b_dec


def test_encode_and_reconstruct_follow_the_equations() -> None:
    sae = random_sae()
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z, expected = numpy_reconstruction(sae, x.numpy())
    activations, latent_ids = sae.encode(x)
    dense = np.zeros_like(z)
    for row, (values, ids) in enumerate(zip(activations.numpy(), latent_ids.numpy(), strict=True)):
        dense[row, ids[values > 0]] = values[values > 0]
    np.testing.assert_allclose(dense, z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sae.decode(activations, latent_ids).detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sae(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_rows_with_fewer_than_k_active_latents_use_only_those() -> None:
    sae = random_sae(k=12)
    with torch.no_grad():
        sae.b_enc -= 2.0
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z, expected = numpy_reconstruction(sae, x.numpy())
    assert (z > 0).sum(1).min() < 12
    assert (z[:, 0] > 0).any()  # latent 0 fires for some rows: padding with id 0 must not count it twice
    np.testing.assert_allclose(sae(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_gradient_of_every_weight_matches_finite_differences() -> None:
    sae = random_sae(dimension=4, num_latents=7, k=2)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def loss(W_enc: torch.Tensor, b_enc: torch.Tensor, W_dec: torch.Tensor, b_dec: torch.Tensor) -> torch.Tensor:
        weights = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}
        return (torch.func.functional_call(sae, weights, (x,)) - x).square().sum()

    weights = [p.detach().clone().requires_grad_() for p in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec)]
    assert torch.autograd.gradcheck(loss, weights, eps=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    hypothesis_numpy.arrays(
        np.float32,
        hypothesis_numpy.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        # few values, so that ties abound; both zeros and a denormal number among them
        elements=st.sampled_from([-3.0, -1.0, -0.0, 0.0, 2.0**-140, 1.0, 1.5, 2.0]),
    ),
    st.integers(1, 9),
)
def test_top_activations_keeps_the_largest_with_ties_by_id(pre_activations: np.ndarray, k: int) -> None:
    k = min(k, pre_activations.shape[1])
    values, ids = top_activations(torch.from_numpy(pre_activations), k)
    assert values.shape == ids.shape == (len(pre_activations), k)
    for row in range(len(pre_activations)):
        positive = [(-float(v), unit) for unit, v in enumerate(pre_activations[row]) if v > 0]
        expected = [(unit, -negated) for negated, unit in sorted(positive)[:k]]
        expected += [(0, 0.0)] * (k - len(expected))
        assert list(zip(ids[row].tolist(), values[row].tolist(), strict=True)) == expected


def test_initialisation_is_centred_on_data_and_follows_the_seed() -> None:
    random = torch.Generator().manual_seed(4)
    sample = 7.0 * torch.randn(2000, 16, generator=random) + 30.0
    sae = SparseAutoencoder.initialise(sample, num_latents=64, k=4, seed=5)
    torch.testing.assert_close(sae.b_dec.detach(), sample.mean(0))
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(64))
    assert not sae.b_enc.any()
    assert torch.equal(sae.W_enc, sae.W_dec)
    again, other = (SparseAutoencoder.initialise(sample, 64, 4, seed) for seed in (5, 6))
    assert torch.equal(sae.W_enc, again.W_enc)
    assert not torch.equal(sae.W_enc, other.W_enc)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])  # the blocks of the CPU, and what any device takes
def test_what_does_not_reach_the_threshold_is_not_active(kind: torch.dtype) -> None:
    sae = random_sae(k=6).to(kind)
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(kind)
    activations, latent_ids = sae.encode(x)
    sae.threshold = 1.5
    kept, kept_ids = sae.encode(x)
    reach = activations >= 1.5
    assert 0 < reach.sum() < (activations > 0).sum()
    assert torch.equal(kept, activations * reach)
    assert torch.equal(kept_ids, latent_ids * reach)


def test_scaled_copy_does_to_scaled_rows_what_the_original_does() -> None:
    sae = random_sae()
    sae.threshold = 0.7
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    (activations, latent_ids), (scaled_activations, scaled_ids) = sae.encode(x), sae.scaled(40.0).encode(40.0 * x)
    assert torch.equal(latent_ids, scaled_ids)
    torch.testing.assert_close(scaled_activations, 40.0 * activations)
    torch.testing.assert_close(sae.scaled(40.0)(40.0 * x), 40.0 * sae(x))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_representations_are_refused(bad: float) -> None:
    x = torch.zeros(3, 6, dtype=torch.float64)
    x[1, 2] = bad
    with pytest.raises(InputError, match="NaN"):
        random_sae().encode(x)


def test_large_finite_representations_are_not_refused() -> None:
    sae = random_sae().float()
    activations, _ = sae.encode(torch.full((4, 6), 3e37))  # the sum over all of them overflows float32
    assert activations.isfinite().all()


@pytest.mark.parametrize("k", [0, 16])
def test_k_outside_the_dictionary_is_refused(k: int) -> None:
    with pytest.raises(InputError, match=r"sae\.k"):
        random_sae(k=k)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("block_floats", [1, 500, 2**27])
def test_encoding_on_a_device_finds_what_the_cpu_kernel_finds(rounded: bool, block_floats: int) -> None:
    x = torch.randn(300, 24, generator=torch.Generator().manual_seed(3))
    sae = SparseAutoencoder.initialise(x, 400, 5, seed=4)
    expected, expected_ids = sae.encode(x)
    activations, latent_ids = encode_on_device(
        x - sae.b_dec, sae.W_enc, sae.b_enc, 5, rounded=rounded, block_floats=block_floats
    )
    torch.testing.assert_close(activations, expected)
    assert torch.equal(latent_ids, expected_ids)


def test_encoding_on_a_device_of_no_rows() -> None:
    sae = SparseAutoencoder.initialise(torch.randn(10, 4), 8, 3, seed=4)
    activations, latent_ids = encode_on_device(torch.empty(0, 4), sae.W_enc, sae.b_enc, 3)
    assert (activations.shape, latent_ids.shape, latent_ids.dtype) == ((0, 3), (0, 3), torch.int64)
