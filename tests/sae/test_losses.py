from __future__ import annotations

import numpy as np
import pytest
import torch

from recsae_lib.config import SaeSettings
from recsae_lib.sae.losses import auxiliary_k, auxk, fvu
from recsae_lib.sae.model import SparseAutoencoder

VARIANCE = 5.0


@pytest.fixture
def sae() -> SparseAutoencoder:
    random = torch.Generator().manual_seed(0)
    W_enc, W_dec = torch.randn(2, 20, 6, generator=random, dtype=torch.float64)
    b_enc = 0.1 * torch.randn(20, generator=random, dtype=torch.float64)
    b_dec = torch.randn(6, generator=random, dtype=torch.float64)
    return SparseAutoencoder(W_enc, b_enc, W_dec / W_dec.norm(dim=1, keepdim=True), b_dec, 3)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numpy_auxk(sae: SparseAutoencoder, x: np.ndarray, x_hat: np.ndarray, dead: list[int], k_aux: int) -> float:
    W_enc, b_enc, W_dec, b_dec = (p.detach().numpy() for p in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec))
    residual = x - x_hat
    a = np.maximum((x - b_dec) @ W_enc.T + b_enc, 0.0)[:, dead]
    smallest_kept = np.sort(a, axis=1)[:, -k_aux][:, None]
    residual_hat = np.where(a >= smallest_kept, a, 0.0) @ W_dec[dead]
    return min(len(dead) / k_aux, 1.0) * np.square(residual - residual_hat).sum(1).mean() / VARIANCE


def test_fvu_divides_by_the_variance_of_the_set_not_the_batch() -> None:
    x, x_hat = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert fvu(x, x_hat, 10.0).item() == pytest.approx((4 + 1) / 2 / 10)


@pytest.mark.parametrize(
    ("dead", "limit", "k_aux"),
    [([1, 4, 7, 9, 12, 19], None, 3), ([2, 5], None, 2), ([1, 4, 7, 9, 12], 1, 1), ([1, 4, 7, 9], 50, 4)],
)
def test_auxk_follows_the_equations(
    sae: SparseAutoencoder, x: torch.Tensor, dead: list[int], limit: int | None, k_aux: int
) -> None:
    x_hat = sae(x)
    expected = numpy_auxk(sae, x.numpy(), x_hat.detach().numpy(), dead, k_aux)
    assert auxiliary_k(SaeSettings(auxiliary_k=limit), sae.dimension, len(dead)) == k_aux
    assert auxk(sae, x, x_hat, torch.tensor(dead), VARIANCE, k_aux).item() == pytest.approx(expected, rel=1e-12)


def test_auxk_is_zero_without_dead_latents(sae: SparseAutoencoder, x: torch.Tensor) -> None:
    assert auxk(sae, x, sae(x), torch.tensor([], dtype=torch.int64), VARIANCE, 0).item() == 0.0


def test_auxk_moves_dead_latents_and_no_weight_of_live_ones(sae: SparseAutoencoder, x: torch.Tensor) -> None:
    dead = torch.tensor([0, 3, 8, 11])
    auxk(sae, x, sae(x), dead, VARIANCE, 3).backward()
    live = torch.ones(20, dtype=torch.bool)
    live[dead] = False
    for weights in (sae.W_enc, sae.W_dec, sae.b_enc):
        assert (weights.grad[dead].reshape(4, -1).norm(dim=1) > 1e-6).all()
        assert not weights.grad[live].any()


def test_auxk_gradient_matches_differences_at_a_fixed_residual(sae: SparseAutoencoder, x: torch.Tensor) -> None:
    dead, x_hat = torch.tensor([0, 3, 8, 11]), sae(x).detach()

    def loss(W_enc: torch.Tensor, b_enc: torch.Tensor, W_dec: torch.Tensor, b_dec: torch.Tensor) -> torch.Tensor:
        return auxk(_with(sae, W_enc, b_enc, W_dec, b_dec), x, x_hat, dead, VARIANCE, 3)

    weights = [p.detach().clone().requires_grad_() for p in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec)]
    assert torch.autograd.gradcheck(loss, weights, eps=1e-6)
    auxk(sae, x, sae(x), dead, VARIANCE, 3).backward()  # x̂ with its gradient: the residual must be detached from it
    torch.testing.assert_close(sae.b_dec.grad, torch.autograd.grad(loss(*weights), weights)[3])


def test_training_dead_latents_on_auxk_lowers_the_residual_fvu(sae: SparseAutoencoder, x: torch.Tensor) -> None:
    dead, x_hat = torch.tensor([0, 3, 8, 11, 15]), sae(x).detach()
    optimiser = torch.optim.SGD([sae.W_enc, sae.W_dec], lr=0.05)
    before = auxk(sae, x, x_hat, dead, VARIANCE, 3).item()
    for _ in range(100):
        optimiser.zero_grad()
        loss = auxk(sae, x, x_hat, dead, VARIANCE, 3)
        loss.backward()
        optimiser.step()
    assert loss.item() < before
    assert loss.item() < fvu(x, x_hat, VARIANCE).item()  # better than leaving the residual as it is


def _with(sae: SparseAutoencoder, *weights: torch.Tensor) -> SparseAutoencoder:
    """The same SAE over other tensors, which stay part of the graph (a Parameter would cut them off)."""
    copy = SparseAutoencoder(*(w.detach().clone() for w in weights), sae.k)
    for name, tensor in zip(("W_enc", "b_enc", "W_dec", "b_dec"), weights, strict=True):
        delattr(copy, name)
        setattr(copy, name, tensor)
    return copy
