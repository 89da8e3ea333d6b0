"""Training of the sparse autoencoder on a stream of representations (method.md section 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from recsae_lib.config import SaeSettings
from recsae_lib.errors import InputError
from recsae_lib.sae.losses import auxk, fvu
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments
from recsae_lib.sae.sparse_step import SparseStep, StepLoss

SAMPLE_ROWS = 1024  # rows that initialisation looks at
LONGEST_DEAD_WINDOW = 10_000_000  # rows; bounds the default of dead_after_rows


@dataclass(frozen=True)
class EpochReport:
    """What one pass over the training rows gave.

    Parameters
    ----------
    epoch : from 1.
    fvu, auxk : means over the rows of the pass, while the weights moved.
    l0 : mean number of active latents a row.
    dead_fraction : share of latents that have not fired for `dead_after_rows` rows, at the end of the pass.
    rows : training rows of the pass.
    seconds : wall time of the pass.
    """

    epoch: int
    fvu: float
    auxk: float
    l0: float
    dead_fraction: float
    rows: int
    seconds: float


@dataclass(frozen=True)
class TrainedSae:
    """The outcome of training; both models take raw representations and are on the CPU.

    Parameters
    ----------
    sae : weights of the pass with the lowest FVU.
    initial : the same SAE as it was initialised at random: the baseline of method.md section 6.
    reports : one for each pass, in order.
    """

    sae: SparseAutoencoder
    initial: SparseAutoencoder
    reports: tuple[EpochReport, ...]


def train_sae(
    batches_of: Callable[[int], Iterator[torch.Tensor]],
    dimension: int,
    settings: SaeSettings,
    seed: int,
    device: str,
    on_epoch: Callable[[EpochReport, SparseAutoencoder], None],
) -> TrainedSae:
    """Train on all batches of an epoch, `settings.epochs` times at most; on a CPU the seed decides every bit.

    Pass 0 only measures: the mean and total variance of the training set, and a sample for initialisation. Inside,
    representations are divided by one scalar (to unit variance a dimension, so that one learning rate suits every
    recommender); the weights that come back take raw ones.

    Parameters
    ----------
    batches_of : gives the (batch, d) batches of an epoch, e.g. ``RepresentationLoader.iterate``.
    dimension : d
    on_epoch : is told of each pass when it ends, with the SAE as it then is (takes raw representations).

    Raises
    ------
    InputError : no rows, representations that are all alike or hold NaN, k larger than M, or a training that diverges.
    """
    moments, sample = _measure(batches_of(0), dimension, device)
    total_variance = moments.squared_deviations / max(moments.rows, 1)
    if not 0.0 < total_variance < math.inf:
        raise InputError(
            f"The {moments.rows} training representations have no finite, positive variance",
            "Extract representations of a trained recommender first",
        )
    scale = math.sqrt(total_variance / dimension)
    num_latents = settings.expansion_factor * dimension
    sae = SparseAutoencoder.initialise(sample / scale, num_latents, settings.k, seed)
    initial = sae.scaled(scale).cpu()
    state = TrainingState(sae, settings, moments.rows)
    best, best_fvu, best_epoch = initial, math.inf, 0
    reports: list[EpochReport] = []
    for epoch in range(1, settings.epochs + 1):
        scaled_batches = (batch.to(device) / scale for batch in batches_of(epoch))
        report = _train_epoch(epoch, scaled_batches, state, variance=float(dimension))
        if not math.isfinite(report.fvu):
            raise InputError(f"Training diverged in epoch {epoch}", "Set a lower sae.learning_rate")
        reports.append(report)
        current = sae.scaled(scale)
        on_epoch(report, current)
        if report.fvu < best_fvu:
            best, best_fvu, best_epoch = current.cpu(), report.fvu, epoch
        elif epoch - best_epoch >= settings.patience:
            break
    return TrainedSae(best, initial, tuple(reports))


def default_learning_rate(num_latents: int) -> float:
    """2e-4/√(M/2¹⁴) (method.md section 2)."""
    return 2e-4 / math.sqrt(num_latents / 2**14)


@torch.no_grad()
def remove_parallel_gradient(W_dec: torch.nn.Parameter) -> None:
    """Take out of each row's gradient the component along the row, which normalisation would undo anyway."""
    if W_dec.grad is not None:
        W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec


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


def _measure(batches: Iterator[torch.Tensor], dimension: int, device: str) -> tuple[RunningMoments, torch.Tensor]:
    moments = RunningMoments(dimension, device)
    sample = torch.empty(0, dimension, device=device)
    for batch in batches:
        x = batch.to(device)
        if len(sample) < SAMPLE_ROWS:
            sample = torch.cat([sample, x[: SAMPLE_ROWS - len(sample)]])
        moments.add(x)
    return moments, sample


def _train_epoch(epoch: int, batches: Iterator[torch.Tensor], state: TrainingState, variance: float) -> EpochReport:
    started = time.perf_counter()
    rows = 0
    sums = torch.zeros(3, dtype=torch.float64, device=state.rows_since_fired.device)
    for x in batches:
        loss = state.step(x, variance)
        sums += len(x) * torch.stack([loss.fvu, loss.auxk, loss.l0]).double()
        rows += len(x)
    mean_fvu, mean_auxk, mean_l0 = (sums / rows).tolist()
    dead_fraction = float(state.dead().double().mean())
    return EpochReport(epoch, mean_fvu, mean_auxk, mean_l0, dead_fraction, rows, time.perf_counter() - started)
