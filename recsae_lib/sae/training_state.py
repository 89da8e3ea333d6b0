"""One step of training the sparse autoencoder: gradients, optimiser, unit norms, dead latents."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from recsae_lib.config import SaeSettings
from recsae_lib.sae.losses import auxk, fvu
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.sparse_step import SparseStep, StepLoss

LONGEST_DEAD_WINDOW = 10_000_000  # rows; bounds the default of dead_after_rows


class TrainingState:
    """What moves from step to step: weights, optimiser, and rows since each latent was last in a top-k.

    Parameters
    ----------
    sae : is trained in place.
    rows : of the training set.
    """

    def __init__(self, sae: SparseAutoencoder, settings: SaeSettings, rows: int) -> None:
        self.sae, self.settings = sae, settings
        rate = settings.learning_rate or default_learning_rate(sae.num_latents)
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=rate, fused=True)
        self.rows_since_fired = torch.zeros(sae.num_latents, dtype=torch.int64, device=sae.W_dec.device)
        self.dead_after_rows = settings.dead_after_rows or min(rows, LONGEST_DEAD_WINDOW)
        on_cpu = sae.W_dec.device.type == "cpu"
        self._gradients = SparseStep(sae, torch.get_num_threads()) if on_cpu else _AutogradStep(sae)

    def dead(self) -> torch.Tensor:
        """Return whether each latent is dead, (M,)."""
        return self.rows_since_fired >= self.dead_after_rows

    def step(self, x: torch.Tensor, total_variance: float) -> StepLoss:
        """Move the weights once; return what the batch, (rows, d), gave before the move."""
        alpha, limit = self.settings.auxiliary_coefficient, self.settings.auxiliary_k
        loss = self._gradients(x, self.dead().nonzero().squeeze(1), total_variance, alpha, limit)
        self.rows_since_fired += len(x)
        self.rows_since_fired[loss.fired] = 0
        remove_parallel_gradient(self.sae.W_dec)
        self.optimiser.step()
        with torch.no_grad():
            self.sae.W_dec.copy_(F.normalize(self.sae.W_dec))
        return loss


class _AutogradStep:
    """What `SparseStep` does, on any device."""

    def __init__(self, sae: SparseAutoencoder) -> None:
        self.sae = sae

    def __call__(
        self, x: torch.Tensor, dead_ids: torch.Tensor, total_variance: float, alpha: float, limit: int | None
    ) -> StepLoss:
        x_hat, activations, latent_ids = self.sae.reconstruct(x)
        active = activations > 0
        unexplained = fvu(x, x_hat, total_variance)
        auxiliary = auxk(self.sae, x, x_hat, dead_ids, total_variance, limit)
        self.sae.zero_grad()
        (unexplained + alpha * auxiliary).backward()
        l0 = active.sum(1).float().mean()
        return StepLoss(unexplained.detach(), auxiliary.detach(), l0, latent_ids[active])


def default_learning_rate(num_latents: int) -> float:
    """2e-4/√(M/2¹⁴) (method.md section 2)."""
    return 2e-4 / math.sqrt(num_latents / 2**14)


@torch.no_grad()
def remove_parallel_gradient(W_dec: torch.nn.Parameter) -> None:
    """Take out of each row's gradient the component along the row, which normalisation would undo anyway."""
    if W_dec.grad is not None:
        W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
