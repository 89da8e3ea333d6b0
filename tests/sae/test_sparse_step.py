from __future__ import annotations

import pytest
import torch

from recsae_lib.sae.losses import auxk, fvu
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.sparse_step import SparseStep

ALPHA = 1 / 8


def trained_a_little(dimension: int, latents: int, k: int) -> SparseAutoencoder:
    """An SAE whose encoder and decoder differ, as after some steps."""
    random = torch.Generator().manual_seed(latents)
    sae = SparseAutoencoder.initialise(torch.randn(500, dimension, generator=random), latents, k, seed=1)
    with torch.no_grad():
        sae.W_enc += 0.1 * torch.randn(latents, dimension, generator=random)
        sae.b_enc += 0.1 * torch.randn(latents, generator=random)
    return sae


def autograd(
    sae: SparseAutoencoder, x: torch.Tensor, dead_ids: torch.Tensor, variance: float, limit: int | None
) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Losses and gradients in float64, through the dense definitions of `losses`."""
    exact = SparseAutoencoder(*(w.detach().double() for w in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec)), sae.k)
    x_hat, _, _ = exact.reconstruct(x.double())
    unexplained = fvu(x.double(), x_hat, variance)
    auxiliary = auxk(exact, x.double(), x_hat, dead_ids, variance, limit)
    (unexplained + ALPHA * auxiliary).backward()
    gradients = {name: w.grad for name, w in exact.named_parameters() if w.grad is not None}
    return unexplained.item(), auxiliary.item(), gradients


@pytest.mark.parametrize(
    ("dimension", "latents", "k", "dead", "limit"),
    [
        (16, 64, 5, 0, None),
        (16, 64, 5, 6, 4),
        (16, 64, 5, 40, None),
        (33, 130, 130, 3, 50),  # every latent may be active
        (64, 3000, 16, 700, None),
        (1024, 256, 8, 30, None),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_losses_and_gradients_are_those_of_autograd(
    dimension: int, latents: int, k: int, dead: int, limit: int | None, threads: int
) -> None:
    sae = trained_a_little(dimension, latents, k)
    random = torch.Generator().manual_seed(7)
    x = torch.randn(201, dimension, generator=random)
    dead_ids = torch.randperm(latents, generator=random)[:dead].sort().values
    step = SparseStep(sae, threads)
    step(torch.randn(300, dimension, generator=random), dead_ids, 3.0, ALPHA, limit)  # leaves its traces in the buffers
    loss = step(x, dead_ids, float(dimension), ALPHA, limit)
    unexplained, auxiliary, gradients = autograd(sae, x, dead_ids, float(dimension), limit)
    assert (loss.fvu.item(), loss.auxk.item()) == pytest.approx((unexplained, auxiliary), rel=1e-5)
    for name, weights in sae.named_parameters():
        assert weights.grad is not None
        expected = gradients[name].float()
        torch.testing.assert_close(weights.grad, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    activations, latent_ids = sae.encode(x)
    assert loss.l0.item() == pytest.approx((activations > 0).sum(1).double().mean().item())
    assert loss.fired.tolist() == latent_ids[activations > 0].unique().tolist()


def test_any_number_of_threads_gives_the_same_bits() -> None:
    sae = trained_a_little(64, 1024, 16)
    x, dead_ids = torch.randn(1001, 64, generator=torch.Generator().manual_seed(3)), torch.arange(0, 1024, 9)
    gradients = []
    for threads in (1, 2, 5):
        SparseStep(sae, threads)(x, dead_ids, 64.0, ALPHA, None)
        gradients.append([w.grad.clone() for w in sae.parameters() if w.grad is not None])
    for other in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], other, strict=True))


def test_rows_for_which_nothing_fires_move_only_the_decoder_bias() -> None:
    sae = trained_a_little(16, 64, 5)
    with torch.no_grad():
        sae.b_enc.fill_(-1e6)
    x = torch.randn(50, 16, generator=torch.Generator().manual_seed(4))
    loss = SparseStep(sae, 2)(x, torch.tensor([1, 2]), 16.0, ALPHA, None)
    assert (loss.l0.item(), loss.fired.tolist()) == (0.0, [])
    assert not any(w.grad.any() for w in (sae.W_enc, sae.b_enc, sae.W_dec) if w.grad is not None)
    torch.testing.assert_close(sae.b_dec.grad, -2 / 16 * (x - sae.b_dec).mean(0))
