from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recsae_lib.sae.kernels.workers import Workers
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.optimiser import UnitNormAdam


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_steps_are_those_of_adam_on_the_sphere(threads: int | None) -> None:
    random = torch.Generator().manual_seed(1)
    sae, other = (SparseAutoencoder.initialise(torch.eye(24), 200, 3, seed=1) for _ in range(2))
    ours = UnitNormAdam(sae, None if threads is None else Workers(threads))
    adam = torch.optim.Adam(other.parameters(), lr=1e-2)
    for _ in range(20):
        for weights, peer in zip(sae.parameters(), other.parameters(), strict=True):
            weights.grad = torch.randn(weights.shape, generator=random) * torch.rand(1, generator=random)
            peer.grad = weights.grad.clone()
        ours.step(1e-2)
        with torch.no_grad():
            along = (other.W_dec.grad * other.W_dec).sum(1, keepdim=True)
            other.W_dec.grad -= along * other.W_dec
            adam.step()
            other.W_dec.copy_(F.normalize(other.W_dec))
    for weights, peer in zip(sae.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weights, peer, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(200))
