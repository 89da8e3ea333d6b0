"""One step of training the sparse autoencoder: gradients, optimiser, unit norms, dead latents."""

from __future__ import annotations

import math

import torch

from recsae_lib.config import SaeSettings
from recsae_lib.sae.kernels.workers import Workers
from recsae_lib.sae.losses import StepLoss
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.device_step import DeviceStep
from recsae_lib.sae.training.optimiser import UnitNormAdam
from recsae_lib.sae.training.ranks import ALONE, Ranks
from recsae_lib.sae.training.sparse_step import SparseStep

LONGEST_DEAD_WINDOW = 10_000_000  # rows; bounds the default of dead_after_rows
WARM_UP, COOL_DOWN = 0.1, 0.2  # shares of the steps
# Share of θ that a batch leaves as it was: one batch shows it well, and a long memory is of weights that have moved on.
THRESHOLD_MEMORY = 0.9
MOST_ACTIVE = 4  # times k: most latents that a threshold lets through for a row


class TrainingState:
    """What moves from step to step: weights, optimiser, θ, and rows since each latent was last in a top-k.

    Parameters
    ----------
    sae : is trained in place.
    rows : of the training set.
    steps : of the whole training.
    ranks : processes that share each batch.
    """

    def __init__(
        self, sae: SparseAutoencoder, settings: SaeSettings, rows: int, steps: int, ranks: Ranks = ALONE
    ) -> None:
        self.sae, self.settings, self.ranks = sae, settings, ranks
        device = sae.W_dec.device
        self.steps, self.rate = steps, settings.learning_rate or default_learning_rate(sae.num_latents)
        workers = Workers(torch.get_num_threads()) if device.type == "cpu" else None
        self.optimiser = UnitNormAdam(sae, workers)
        self.rows_since_fired = torch.zeros(sae.num_latents, dtype=torch.int64, device=device)
        # BatchTopK: moving mean of the smallest activation that was among the largest of a batch.
        self.threshold = torch.zeros((), dtype=torch.float64, device=device)
        self.dead_after_rows = settings.dead_after_rows or min(rows, LONGEST_DEAD_WINDOW)
        self._gradients = DeviceStep(sae, settings) if workers is None else SparseStep(sae, settings, workers)

    def dead(self) -> torch.Tensor:
        """Return whether each latent is dead, (M,)."""
        return self.rows_since_fired >= self.dead_after_rows

    def step(self, x: torch.Tensor, total_variance: float) -> StepLoss:
        """Move the weights once; return what the batch, (rows, d), gave before the move.

        With several processes the batch is that of all of them; the `k · batch` largest of BatchTopK are those of each.
        """
        loss = self._gradients(x, self.dead().nonzero().squeeze(1), total_variance)
        loss = loss if self.ranks.world_size == 1 else self._of_all_ranks(loss)
        self.rows_since_fired += loss.rows
        self.rows_since_fired[loss.fired] = 0
        moved = THRESHOLD_MEMORY * self.threshold + (1 - THRESHOLD_MEMORY) * loss.lowest
        self.threshold = torch.where(self.threshold > 0, moved, loss.lowest.double())
        self.optimiser.step(self.rate * rate_share(self.optimiser.steps_done, self.steps))
        return loss

    def _of_all_ranks(self, loss: StepLoss) -> StepLoss:
        """Average loss and gradients over the rows of all processes, in one message."""
        gradients = [weights.grad for weights in self.sae.parameters() if weights.grad is not None]
        numbers = torch.stack([loss.fvu, loss.auxk, loss.l0, loss.lowest]).to(gradients[0])
        fired = torch.zeros_like(self.rows_since_fired, dtype=torch.float32).index_fill_(0, loss.fired, 1.0)
        weighted = [part.reshape(-1) * loss.rows for part in (*gradients, numbers)]
        message = self.ranks.sum(torch.cat([*weighted, numbers.new_tensor([float(loss.rows)]), fired]))
        rows = int(message[-len(fired) - 1])
        begin = 0
        for part in (*gradients, numbers):
            part.copy_((message[begin : begin + part.numel()] / rows).view_as(part))
            begin += part.numel()
        unexplained, auxiliary, l0, lowest = numbers.double()
        return StepLoss(unexplained, auxiliary, l0, lowest, message[-len(fired) :].nonzero().squeeze(1), rows)

    def trained(self) -> SparseAutoencoder:
        """Copy of the SAE as it is used: BatchTopK has its threshold, with which a row needs no batch."""
        sae = self.sae.scaled(1.0)
        if self.settings.variant == "batch_top_k":
            sae.k, sae.threshold = min(MOST_ACTIVE * sae.k, sae.num_latents), float(self.threshold)
        return sae


def default_learning_rate(num_latents: int) -> float:
    """8e-4/√(M/2¹⁴), reached after the warm-up.

    Four times what Gao et al. 2024 take (METHOD.md section 2), for trainings of hundreds of millions of rows: ours
    are shorter. On planted dictionaries and SASRec's representations FVU after 50 passes is a fifth to a third lower.
    """
    return 8e-4 / math.sqrt(num_latents / 2**14)


def rate_share(done: int, steps: int) -> float:
    """Share of the learning rate for the next step: it rises over the first tenth and falls over the last fifth.

    Parameters
    ----------
    done, steps : steps made, and of the whole training.
    """
    return max(min(1.0, (done + 1) / (WARM_UP * steps), (steps - done) / (COOL_DOWN * steps)), 0.0)
