from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from recsae_lib.config import SaeSettings
from recsae_lib.sae.kernels.workers import Workers
from recsae_lib.sae.losses import auxiliary_k, auxk, fvu, prefix_groups
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.device_step import GATE_STEPS, DeviceStep
from recsae_lib.sae.training.sparse_step import SparseStep

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
    sae: SparseAutoencoder, settings: SaeSettings, x: torch.Tensor, dead_ids: torch.Tensor, variance: float
) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Losses and gradients in float64, through the dense definitions of `losses`."""
    exact = SparseAutoencoder(*(w.detach().double() for w in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec)), sae.k)
    x = x.double()
    pre_activations = exact.pre_activations(x).relu()
    if settings.variant == "batch_top_k":
        lowest = pre_activations.flatten().sort(descending=True).values[sae.k * len(x) - 1]
        z = pre_activations * (pre_activations >= lowest)
    else:
        z = torch.zeros_like(pre_activations).scatter(1, *reversed(pre_activations.topk(sae.k, dim=1)))
    x_hat = z @ exact.W_dec + exact.b_dec
    groups = torch.from_numpy(prefix_groups(settings, sae.num_latents))
    prefixes = [z * (groups <= group) @ exact.W_dec + exact.b_dec for group in range(int(groups.max()) + 1)]
    loss = sum((x - prefix).square().sum() for prefix in prefixes) / (len(prefixes) * len(x) * variance)
    auxiliary = auxk(exact, x, x_hat, dead_ids, variance, auxiliary_k(settings, sae.dimension, len(dead_ids)))
    (loss + ALPHA * auxiliary).backward()
    gradients = {name: w.grad for name, w in exact.named_parameters() if w.grad is not None}
    return fvu(x, x_hat, variance).item(), auxiliary.item(), gradients


def settings_of(**changes: object) -> SaeSettings:
    return SaeSettings.model_validate({"auxiliary_coefficient": ALPHA, **changes})


@pytest.mark.parametrize(
    "step_of",
    [
        lambda *of: SparseStep(*of, Workers(1)),
        lambda *of: SparseStep(*of, Workers(3)),
        DeviceStep,
        lambda *of: DeviceStep(*of, may_round=True),
        lambda *of: DeviceStep(*of, block_floats=20_000),
    ],
    ids=["1 thread", "3 threads", "device", "rounded", "blocks"],
)
@pytest.mark.parametrize("variant", ["top_k", "batch_top_k", "matryoshka"])
@pytest.mark.parametrize(
    ("dimension", "latents", "k", "dead", "limit"),
    [
        (16, 64, 5, 0, None),
        (16, 64, 5, 6, 4),  # whole matrices
        (16, 64, 5, 40, None),
        (16, 64, 5, 40, 2),  # loops over the active
        (33, 130, 130, 3, 50),  # every latent may be active
        (64, 3000, 16, 700, None),
        (1024, 256, 8, 30, None),
    ],
)
def test_losses_and_gradients_are_those_of_autograd(
    dimension: int, latents: int, k: int, dead: int, limit: int | None, variant: str, step_of: Callable[..., Any]
) -> None:
    sae = trained_a_little(dimension, latents, k)
    random = torch.Generator().manual_seed(7)
    x = torch.randn(601, dimension, generator=random) * (1 + 3 * torch.rand(601, 1, generator=random))
    dead_ids = torch.randperm(latents, generator=random)[:dead].sort().values
    settings = settings_of(variant=variant, auxiliary_k=limit)
    step = step_of(sae, settings)
    step(torch.randn(2100, dimension, generator=random), dead_ids, 3.0)  # leaves its traces in the buffers
    loss = step(x, dead_ids, float(dimension))
    unexplained, auxiliary, gradients = autograd(sae, settings, x, dead_ids, float(dimension))
    assert (loss.fvu.item(), loss.auxk.item()) == pytest.approx((unexplained, auxiliary), rel=1e-5)
    for name, weights in sae.named_parameters():
        assert weights.grad is not None
        expected = gradients[name].float()
        torch.testing.assert_close(weights.grad, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    if variant == "batch_top_k":
        largest = sae.pre_activations(x).flatten().sort(descending=True).values[: k * len(x)]
        assert loss.l0.item() == pytest.approx((largest > 0).sum().item() / len(x))
        assert loss.lowest.item() == pytest.approx(
            largest[largest > 0][-1].item(), rel=1e-5, abs=1e-6 * largest[0].item()
        )
    else:
        activations, latent_ids = sae.encode(x)
        assert loss.l0.item() == pytest.approx((activations > 0).sum(1).double().mean().item())
        assert loss.fired.unique().tolist() == latent_ids[activations > 0].unique().tolist()


def test_few_rows_may_take_most_of_a_batch() -> None:
    sae = trained_a_little(16, 64, 2)
    x = torch.cat([1000 * torch.randn(1, 16, generator=torch.Generator().manual_seed(5)), torch.zeros(19, 16)])
    with torch.no_grad():
        sae.b_dec.zero_()
        sae.b_enc.fill_(-1.0)
    active = int((sae.pre_activations(x)[0] > 0).sum())
    assert active > 8  # more than the four times k that are looked at first
    loss = SparseStep(sae, settings_of(variant="batch_top_k"), Workers(1))(x, torch.tensor([], dtype=torch.int64), 16.0)
    assert loss.l0.item() == pytest.approx(active / 20)


@pytest.mark.parametrize("variant", ["top_k", "batch_top_k", "matryoshka"])
def test_any_number_of_threads_gives_the_same_bits(variant: str) -> None:
    sae = trained_a_little(64, 1024, 16)
    x, dead_ids = torch.randn(2501, 64, generator=torch.Generator().manual_seed(3)), torch.arange(0, 1024, 9)
    gradients = []
    for threads in (1, 2, 5):
        SparseStep(sae, settings_of(variant=variant), Workers(threads))(x, dead_ids, 64.0)
        gradients.append([w.grad.clone() for w in sae.parameters() if w.grad is not None])
    for other in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], other, strict=True))


def test_rows_for_which_nothing_fires_move_only_the_decoder_bias() -> None:
    for variant in ("top_k", "batch_top_k", "matryoshka"):
        sae = trained_a_little(16, 64, 5)
        with torch.no_grad():
            sae.b_enc.fill_(-1e6)
        x = torch.randn(50, 16, generator=torch.Generator().manual_seed(4))
        loss = SparseStep(sae, settings_of(variant=variant), Workers(2))(x, torch.tensor([1, 2]), 16.0)
        assert (loss.l0.item(), loss.fired.tolist()) == (0.0, [])
        assert not any(w.grad.any() for w in (sae.W_enc, sae.b_enc, sae.W_dec) if w.grad is not None)
        torch.testing.assert_close(sae.b_dec.grad, -2 / 16 * (x - sae.b_dec).mean(0))


def test_prefixes_are_counted_in_latents() -> None:
    assert prefix_groups(settings_of(variant="matryoshka"), 32).tolist() == [0, 0] + [1] * 6 + [2] * 24
    assert not prefix_groups(settings_of(variant="top_k"), 32).any()


def test_rounded_products_are_used_while_they_cost_no_fvu(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(1))
    step = DeviceStep(trained_a_little(16, 64, 4), settings_of(), may_round=True)
    assert not step.rounds
    step(x, torch.empty(0, dtype=torch.int64), 16.0)
    assert step.rounds
    assert "Products of the encoder are bfloat16" in caplog.text
    # Rows of W_enc that are one and the same in bfloat16, and of which the last alone decodes to x.
    latents, x = torch.arange(64.0), torch.tensor([[1.0, 0.0]]).repeat(8, 1)
    W_enc = torch.stack([1 + latents * 1e-5, torch.zeros(64)], dim=1)
    W_dec = torch.tensor([[0.0, 1.0]]).repeat(64, 1)
    W_dec[-1] = torch.tensor([1.0, 0.0])
    sae = SparseAutoencoder(W_enc, torch.zeros(64), W_dec, torch.zeros(2), 1)
    step = DeviceStep(sae, settings_of(), may_round=True)
    loss = step(x, torch.empty(0, dtype=torch.int64), 2.0)
    assert not step.rounds
    assert loss.fvu.item() < 1e-5
    assert caplog.messages[-1].startswith("Products of the encoder are float32: FVU of a batch is 1.0")


def test_rounding_is_decided_again() -> None:
    step = DeviceStep(trained_a_little(16, 64, 4), settings_of(), may_round=True)
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    step(x, torch.empty(0, dtype=torch.int64), 16.0)
    step.rounds = False
    for _ in range(GATE_STEPS - 1):
        step(x, torch.empty(0, dtype=torch.int64), 16.0)
    assert not step.rounds
    step(x, torch.empty(0, dtype=torch.int64), 16.0)
    assert step.rounds
