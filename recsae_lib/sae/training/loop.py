"""Training of the sparse autoencoder on a stream of representations (METHOD.md section 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
import torch

from recsae_lib.config import SaeSettings
from recsae_lib.errors import InputError, StoppedError
from recsae_lib.platform.compute.checkpoint import Checkpoint, CheckpointFile, optimiser_tensors, restore_optimiser
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments
from recsae_lib.sae.training.ranks import ALONE, Ranks
from recsae_lib.sae.training.state import TrainingState

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
    initial : the same SAE as it was initialised at random: the baseline of METHOD.md section 6.
    reports : one for each pass, in order.
    """

    sae: SparseAutoencoder
    initial: SparseAutoencoder
    reports: tuple[EpochReport, ...]


@dataclass(frozen=True)
class SaeChoice:
    """One SAE to train.

    Parameters
    ----------
    settings : its size, variant and optimiser.
    seed : of its initial weights.
    start : an SAE of the same sizes that takes raw representations, to go on from instead of random weights.
    """

    settings: SaeSettings
    seed: int
    start: SparseAutoencoder | None = None


OnEpoch = Callable[[int, EpochReport, SparseAutoencoder | None], None]


def train_saes(
    batches_of: Callable[[int], Iterator[torch.Tensor]],
    dimension: int,
    choices: Sequence[SaeChoice],
    device: str,
    on_epoch: OnEpoch,
    checkpoint: CheckpointFile | None = None,
    stop: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> list[TrainedSae]:
    """Train several SAEs on the same passes over the data, each for `settings.epochs` at most, or until its FVU has not
    fallen for `patience`; on a CPU the seeds decide every bit, and no SAE depends on the others.

    Pass 0 only measures: the mean and total variance of the training set, and a sample for initialisation. Inside,
    representations are divided by one scalar (to unit variance a dimension, so that one learning rate suits every
    recommender); the weights that come back take raw ones. A training that was interrupted anywhere and goes on from
    its checkpoint ends with the same bits as one that was not.

    Parameters
    ----------
    batches_of : gives the (batch, d) batches of an epoch, in the same order whenever it is asked, e.g.
        ``RepresentationLoader.iterate``.
    dimension : d
    on_epoch : is given each pass of each choice (by its place) when it ends, with the SAE as it then is (takes raw
        representations); after a restart of the passes before it too, without one.
    checkpoint : written between steps when it is due, and removed at the end.
    stop : is asked after every step; True writes the checkpoint and ends with `StoppedError`.
    ranks : the processes that train together: each calls this with batches of its own rows, and with a checkpoint on
        storage that all of them read; rank 0 writes it and is given the epochs. A step takes a batch of each.

    Returns
    -------
    list : one for each choice, in their order.

    Raises
    ------
    InputError : no rows, representations that are all alike or hold NaN, k larger than M, or a training that diverges.
    StoppedError : `stop` said so.
    """
    kept = checkpoint.load() if checkpoint is not None else None
    _require_same_start(kept, ranks, device)
    if kept is None:
        position, sample = _measure(batches_of(0), dimension, device, ranks)
        trainings = [_Training.begin(choice, position, sample, ranks) for choice in choices]
    else:
        position = _Position(**kept.progress["position"])
        trainings = [
            _Training.restore(choice, position, Checkpoint(values, kept.part(str(number))), device, ranks)
            for number, (choice, values) in enumerate(zip(choices, kept.progress["trainings"], strict=True))
        ]
        for number, training in enumerate(trainings):
            for report in training.reports:
                if ranks.rank == 0:
                    on_epoch(number, report, None)
    while active := [training for training in trainings if not training.has_ended()]:
        started = time.perf_counter() - position.seconds
        batches = batches_of(position.epoch)
        if ranks.world_size > 1:  # the others may have more of them
            batches = islice(chain(batches, repeat(torch.empty(0, dimension))), position.steps)
        for batch in islice(batches, position.batches, None):
            x = _scaled(batch, position.scale, device)
            for training in active:
                training.take(x)
            position.batches, position.seconds = position.batches + 1, time.perf_counter() - started
            (stops,) = ranks.largest([stop()], device)
            if checkpoint is not None and ranks.rank == 0 and (stops or checkpoint.is_due()):
                _save(checkpoint, position, trainings)
            if stops:
                raise StoppedError(f"Stopped in epoch {position.epoch} of training, after {position.batches} steps")
        for number, training in enumerate(trainings):
            if training in active:
                ended = training.end_pass()
                if ranks.rank == 0:
                    on_epoch(number, *ended)
        position.epoch, position.batches, position.seconds = position.epoch + 1, 0, 0.0
    if checkpoint is not None and ranks.rank == 0:
        checkpoint.discard()
    return [TrainedSae(training.best, training.initial, training.reports) for training in trainings]


@dataclass
class _Position:
    """Where the pass over the data stands, and what was measured before the first one.

    Parameters
    ----------
    rows : of the training set.
    scale : that representations are divided by.
    steps : of a pass.
    batches, seconds : of the pass under way, done.
    """

    rows: int
    scale: float
    steps: int
    epoch: int = 1
    batches: int = 0
    seconds: float = 0.0


class _Training:
    """One SAE under way.

    Parameters
    ----------
    sae : takes scaled representations.
    initial, best : take raw ones, on the CPU.
    """

    def __init__(
        self,
        choice: SaeChoice,
        position: _Position,
        sae: SparseAutoencoder,
        initial: SparseAutoencoder,
        best: SparseAutoencoder,
        ranks: Ranks,
    ) -> None:
        self.choice, self.position, self.initial, self.best = choice, position, initial, best
        self.state = TrainingState(sae, choice.settings, position.rows, choice.settings.epochs * position.steps, ranks)
        self.reports: tuple[EpochReport, ...] = ()
        self.best_fvu, self.best_epoch = math.inf, 0
        # Over the rows of the pass: FVU, AuxK and L0; and how many they are.
        self.sums = torch.zeros(3, dtype=torch.float64, device=sae.W_dec.device)
        self.rows_done = 0

    @classmethod
    def begin(cls, choice: SaeChoice, position: _Position, sample: torch.Tensor, ranks: Ranks) -> _Training:
        """Initialise on a sample of scaled representations, or take the weights that are there."""
        settings = choice.settings
        num_latents = settings.expansion_factor * sample.shape[1]
        sae = SparseAutoencoder.initialise(sample, num_latents, settings.k, choice.seed)
        initial = sae.scaled(position.scale).cpu()
        if choice.start is not None:
            sae = _start_of(choice, sae, position.scale)
        return cls(choice, position, sae, initial, deepcopy(initial), ranks)

    @classmethod
    def restore(cls, choice: SaeChoice, position: _Position, kept: Checkpoint, device: str, ranks: Ranks) -> _Training:
        """Go on from what `tensors` and `values` gave."""

        def model(name: str) -> SparseAutoencoder:
            selection = kept.progress["selection"][name]
            return SparseAutoencoder(**kept.part(name), k=selection["k"], threshold=selection["threshold"])

        training = cls(choice, position, model("sae").to(device), model("initial"), model("best"), ranks)
        restore_optimiser(training.state.optimiser.adam, kept.part("optimiser"))
        for name in ("rows_since_fired", "threshold"):
            setattr(training.state, name, kept.tensors[name].to(device))
        training.sums = kept.tensors["sums"].to(device)
        training.reports = tuple(EpochReport(**report) for report in kept.progress["reports"])
        for name in ("best_fvu", "best_epoch", "rows_done"):
            setattr(training, name, kept.progress[name])
        return training

    def values(self) -> dict[str, Any]:
        """Plain values of the state."""
        models = {"sae": self.state.sae, "initial": self.initial, "best": self.best}
        return {
            "selection": {name: {"k": sae.k, "threshold": sae.threshold} for name, sae in models.items()},
            "reports": [asdict(report) for report in self.reports],
            "best_fvu": self.best_fvu,
            "best_epoch": self.best_epoch,
            "rows_done": self.rows_done,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Tensors of the state."""
        models = {"sae": self.state.sae, "initial": self.initial, "best": self.best}
        named = {f"{model}.{name}": t for model, sae in models.items() for name, t in sae.state_dict().items()}
        named |= {f"optimiser.{name}": t for name, t in optimiser_tensors(self.state.optimiser.adam).items()}
        state = {name: getattr(self.state, name) for name in ("rows_since_fired", "threshold")}
        return {**named, **state, "sums": self.sums}

    def has_ended(self) -> bool:
        """Whether there is no further pass."""
        done, settings = len(self.reports), self.choice.settings
        return done >= settings.epochs or done - self.best_epoch >= settings.patience

    def take(self, x: torch.Tensor) -> None:
        """Train on a batch of scaled representations."""
        loss = self.state.step(x, total_variance=float(x.shape[1]))
        self.sums += loss.rows * torch.stack([loss.fvu, loss.auxk, loss.l0]).double()
        self.rows_done += loss.rows

    def end_pass(self) -> tuple[EpochReport, SparseAutoencoder]:
        """Report the pass, and keep the weights if they are the best."""
        epoch = self.position.epoch
        fvu, auxk, l0 = (self.sums / self.rows_done).tolist()
        if not math.isfinite(fvu):
            raise InputError(f"Training diverged in epoch {epoch}", "Set a lower sae.learning_rate")
        dead_fraction = float(self.state.dead().double().mean())
        report = EpochReport(epoch, fvu, auxk, l0, dead_fraction, self.rows_done, self.position.seconds)
        current = self.state.trained().scaled(self.position.scale)
        if fvu < self.best_fvu:
            self.best, self.best_fvu, self.best_epoch = current.cpu(), fvu, epoch
        self.reports, self.rows_done = (*self.reports, report), 0
        self.sums = torch.zeros_like(self.sums)
        return report, current


def _scaled(batch: torch.Tensor, scale: float, device: str) -> torch.Tensor:
    """Divide by the scale, on the device; on a CPU by numpy, which leaves the threads alone (see `SparseStep`)."""
    x = batch.to(device)
    return torch.from_numpy(x.numpy() / np.float32(scale)) if x.device.type == "cpu" else x / scale


def _require_same_start(kept: Checkpoint | None, ranks: Ranks, device: str) -> None:
    """Raise InputError where the processes found different checkpoints."""
    place = [-1, -1] if kept is None else [kept.progress["position"][name] for name in ("epoch", "batches")]
    later, earlier = ranks.largest(place, device), ranks.largest([-number for number in place], device)
    if later != [-number for number in earlier]:
        raise InputError(
            "The training processes do not see the same checkpoint", "Put paths.var on storage that all of them share"
        )


def _start_of(choice: SaeChoice, like: SparseAutoencoder, scale: float) -> SparseAutoencoder:
    """Return the given weights for scaled representations, on the device of `like`."""
    assert choice.start is not None
    given = tuple(choice.start.W_dec.shape)
    if given != tuple(like.W_dec.shape):
        raise InputError(
            f"The SAE to start from has (latents, dimension) {given}, the one to train {tuple(like.W_dec.shape)}",
            "Set sae.start to random, or the sizes as they were",
        )
    start = choice.start.scaled(1.0 / scale).to(like.W_dec.device)
    start.k, start.threshold = like.k, 0.0
    return start


def _measure(
    batches: Iterator[torch.Tensor], dimension: int, device: str, ranks: Ranks
) -> tuple[_Position, torch.Tensor]:
    """Return the scale of the training set, and a sample of it, scaled."""
    moments = RunningMoments(dimension, device)
    sample = torch.empty(0, dimension, device=device)
    share, steps = max(SAMPLE_ROWS // ranks.world_size, 1), 0
    for batch in batches:
        x = batch.to(device)
        if len(sample) < share:
            sample = torch.cat([sample, x[: share - len(sample)]])
        moments.add(x)
        steps += 1
    (steps,) = ranks.largest([steps], device)
    sample = ranks.gather(sample)
    own = torch.cat([moments.mean, moments.mean.new_tensor([moments.rows, moments.squared_deviations])])
    moments = RunningMoments(dimension, device)
    for of_rank in ranks.gather(own.unsqueeze(0)):
        if rows := int(of_rank[-2]):
            moments.merge(rows, of_rank[:-2], float(of_rank[-1]))
    total_variance = moments.squared_deviations / max(moments.rows, 1)
    if not 0.0 < total_variance < math.inf:
        raise InputError(
            f"The {moments.rows} training representations have no finite, positive variance",
            "Extract representations of a trained recommender first",
        )
    scale = math.sqrt(total_variance / dimension)
    return _Position(moments.rows, scale, steps), sample / scale


def _save(checkpoint: CheckpointFile, position: _Position, trainings: Sequence[_Training]) -> None:
    tensors = {
        f"{number}.{name}": tensor
        for number, training in enumerate(trainings)
        for name, tensor in training.tensors().items()
    }
    progress = {"position": asdict(position), "trainings": [training.values() for training in trainings]}
    checkpoint.save(Checkpoint(progress, tensors))
