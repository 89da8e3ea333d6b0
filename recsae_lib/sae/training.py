"""Training of the sparse autoencoder on a stream of representations (method.md section 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import torch

from recsae_lib.checkpoint import Checkpoint, CheckpointFile, optimiser_tensors, restore_optimiser
from recsae_lib.config import SaeSettings
from recsae_lib.errors import InputError, StoppedError
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments
from recsae_lib.sae.training_state import TrainingState

SAMPLE_ROWS = 1024  # rows that initialisation looks at


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


@dataclass
class _Progress:
    """Where a training stands; `batches` to `seconds` are of the pass that is under way."""

    scale: float
    rows: int
    reports: tuple[EpochReport, ...] = ()
    best_fvu: float = math.inf
    best_epoch: int = 0
    batches: int = 0
    rows_done: int = 0
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))  # FVU, AuxK, L0 · rows
    seconds: float = 0.0

    def next_pass(self, report: EpochReport) -> _Progress:
        return _Progress(self.scale, self.rows, (*self.reports, report), self.best_fvu, self.best_epoch)

    def values(self) -> dict[str, Any]:
        return {**asdict(self), "sums": self.sums.tolist()}

    @classmethod
    def restore(cls, values: dict[str, Any]) -> _Progress:
        reports = tuple(EpochReport(**report) for report in values["reports"])
        return cls(**{**values, "reports": reports, "sums": torch.tensor(values["sums"], dtype=torch.float64)})


def train_sae(
    batches_of: Callable[[int], Iterator[torch.Tensor]],
    dimension: int,
    settings: SaeSettings,
    seed: int,
    device: str,
    on_epoch: Callable[[EpochReport, SparseAutoencoder | None], None],
    checkpoint: CheckpointFile | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainedSae:
    """Train on all batches of an epoch, `settings.epochs` times at most; on a CPU the seed decides every bit.

    Pass 0 only measures: the mean and total variance of the training set, and a sample for initialisation. Inside,
    representations are divided by one scalar (to unit variance a dimension, so that one learning rate suits every
    recommender); the weights that come back take raw ones. A training that was interrupted anywhere and goes on from
    its checkpoint ends with the same bits as one that was not.

    Parameters
    ----------
    batches_of : gives the (batch, d) batches of an epoch, in the same order whenever it is asked, e.g.
        ``RepresentationLoader.iterate``.
    dimension : d
    on_epoch : is told of each pass when it ends, with the SAE as it then is (takes raw representations); after a
        restart of the passes before it too, without one.
    checkpoint : written between steps when it is due, and removed at the end.
    stop : is asked after every step; True writes the checkpoint and ends with `StoppedError`.

    Raises
    ------
    InputError : no rows, representations that are all alike or hold NaN, k larger than M, or a training that diverges.
    StoppedError : `stop` said so.
    """
    kept = checkpoint.load() if checkpoint is not None else None
    if kept is not None:
        progress = _Progress.restore(kept.progress)
        sae, initial, best = (SparseAutoencoder(**kept.part(n), k=settings.k) for n in ("sae", "initial", "best"))
        state = TrainingState(sae.to(device), settings, progress.rows)
        restore_optimiser(state.optimiser, kept.part("optimiser"))
        state.rows_since_fired = kept.tensors["rows_since_fired"].to(device)
        for report in progress.reports:
            on_epoch(report, None)
    else:
        progress, sae = _initialise(batches_of(0), dimension, settings, seed, device)
        initial = sae.scaled(progress.scale).cpu()
        best = deepcopy(initial)
        state = TrainingState(sae, settings, progress.rows)

    def save() -> None:
        if checkpoint is not None:
            models = {"sae": state.sae, "initial": initial, "best": best}
            tensors = {f"{model}.{name}": t for model, s in models.items() for name, t in s.state_dict().items()}
            tensors |= {f"optimiser.{name}": t for name, t in optimiser_tensors(state.optimiser).items()}
            checkpoint.save(Checkpoint(progress.values(), {**tensors, "rows_since_fired": state.rows_since_fired}))

    while not _has_ended(progress, settings):
        epoch = len(progress.reports) + 1
        for _ in _steps(batches_of(epoch), state, progress, device, float(dimension)):
            if stop():
                save()
                raise StoppedError(
                    f"Stopped in epoch {epoch} of {settings.epochs} of training, after {progress.batches} steps"
                )
            if checkpoint is not None and checkpoint.is_due():
                save()
        report = _report(progress, state)
        if not math.isfinite(report.fvu):
            raise InputError(f"Training diverged in epoch {epoch}", "Set a lower sae.learning_rate")
        current = state.sae.scaled(progress.scale)
        if report.fvu < progress.best_fvu:
            best, progress.best_fvu, progress.best_epoch = current.cpu(), report.fvu, epoch
        progress = progress.next_pass(report)
        on_epoch(report, current)
    if checkpoint is not None:
        checkpoint.discard()
    return TrainedSae(best, initial, progress.reports)


def _has_ended(progress: _Progress, settings: SaeSettings) -> bool:
    done = len(progress.reports)
    return done >= settings.epochs or done - progress.best_epoch >= settings.patience


def _initialise(
    batches: Iterator[torch.Tensor], dimension: int, settings: SaeSettings, seed: int, device: str
) -> tuple[_Progress, SparseAutoencoder]:
    moments, sample = _measure(batches, dimension, device)
    total_variance = moments.squared_deviations / max(moments.rows, 1)
    if not 0.0 < total_variance < math.inf:
        raise InputError(
            f"The {moments.rows} training representations have no finite, positive variance",
            "Extract representations of a trained recommender first",
        )
    scale = math.sqrt(total_variance / dimension)
    num_latents = settings.expansion_factor * dimension
    return _Progress(scale, moments.rows), SparseAutoencoder.initialise(sample / scale, num_latents, settings.k, seed)


def _measure(batches: Iterator[torch.Tensor], dimension: int, device: str) -> tuple[RunningMoments, torch.Tensor]:
    moments = RunningMoments(dimension, device)
    sample = torch.empty(0, dimension, device=device)
    for batch in batches:
        x = batch.to(device)
        if len(sample) < SAMPLE_ROWS:
            sample = torch.cat([sample, x[: SAMPLE_ROWS - len(sample)]])
        moments.add(x)
    return moments, sample


def _steps(
    batches: Iterator[torch.Tensor], state: TrainingState, progress: _Progress, device: str, variance: float
) -> Iterator[None]:
    """Train on the batches of a pass that have not been done, and yield after each."""
    progress.sums = progress.sums.to(device)
    started = time.perf_counter() - progress.seconds
    for batch in islice(batches, progress.batches, None):
        loss = state.step(batch.to(device) / progress.scale, variance)
        progress.sums += len(batch) * torch.stack([loss.fvu, loss.auxk, loss.l0]).double()
        progress.batches += 1
        progress.rows_done += len(batch)
        progress.seconds = time.perf_counter() - started
        yield


def _report(progress: _Progress, state: TrainingState) -> EpochReport:
    fvu, auxk, l0 = (progress.sums / progress.rows_done).tolist()
    dead_fraction = float(state.dead().double().mean())
    return EpochReport(len(progress.reports) + 1, fvu, auxk, l0, dead_fraction, progress.rows_done, progress.seconds)
