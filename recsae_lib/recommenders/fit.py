"""Training of a recommender with early stopping on held-out items: one loop for every family."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from recsae_lib.config import RecommenderSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.compute.checkpoint import Checkpoint, CheckpointFile, optimiser_tensors, restore_optimiser
from recsae_lib.recommenders.evaluation import held_out_ranks, model_scorer, ndcg
from recsae_lib.recommenders.families.bpr_mf import BprMf, BprMfObjective
from recsae_lib.recommenders.families.lightgcn import LightGcn, LightGcnObjective
from recsae_lib.recommenders.families.sasrec import Sasrec, SasrecObjective
from recsae_lib.recommenders.families.timirec import FineTuning, Pretraining, Timirec
from recsae_lib.recommenders.training_histories import TrainingHistories

CHECKPOINT_SECONDS = 30.0  # between two checkpoints, at the end of an epoch


class Objective(Protocol):
    """What the loop needs of a family, for one phase of its training.

    Attributes
    ----------
    phase : name of the phase.
    epochs, patience : when to stop.
    """

    phase: str
    epochs: int
    patience: int

    @property
    def network(self) -> torch.nn.Module:
        """What is trained."""
        ...

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """What moves it."""
        ...

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches of an epoch."""
        ...

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss of a batch."""
        ...

    def recommender(self) -> Any:
        """Return the recommender that the network is now: what is evaluated, and what comes out at the end."""
        ...


@dataclass(frozen=True)
class EpochReport:
    """What one pass over the training part gave.

    Parameters
    ----------
    phase : name of the phase.
    epoch : from 1, through all phases.
    loss : mean over the batches of the pass, while the weights moved.
    dev_ndcg : NDCG at the selection cut-off of the dev items, after the pass.
    seconds : wall time of pass and evaluation.
    """

    phase: str
    epoch: int
    loss: float
    dev_ndcg: float
    seconds: float


@dataclass(frozen=True)
class TrainedRecommender:
    """The outcome of training.

    Parameters
    ----------
    model : weights of the epoch with the best dev NDCG (of equal ones, the first), on the device of training.
    best_epoch : that epoch.
    reports : one for each pass, in order.
    """

    model: BprMf | LightGcn | Sasrec | Timirec
    best_epoch: int
    reports: tuple[EpochReport, ...]


@dataclass
class _Progress:
    """Where the training of a phase stands."""

    phase: int = 0
    reports: tuple[EpochReport, ...] = ()
    first_epoch: int = 1  # of the phase
    best_ndcg: float = -1.0
    best_epoch: int = 0

    @classmethod
    def restore(cls, values: dict[str, Any]) -> _Progress:
        return cls(**{**values, "reports": tuple(EpochReport(**report) for report in values["reports"])})


def fit(
    histories: TrainingHistories,
    settings: RecommenderSettings,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[EpochReport], None],
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> TrainedRecommender:
    """Train on the training part, each phase until the dev NDCG has not risen for `patience` epochs.

    A phase starts from the best weights of the one before. Two runs on a CPU with as many threads give the same
    weights to the last bit, whether they were interrupted or not.

    Parameters
    ----------
    histories : whole histories of all users.
    seed : of the initial weights, the order, the negatives, dropout and the draw of evaluated users.
    on_epoch : is given each pass when it ends; after a restart, of those before it too.
    checkpoint : file that an interrupted training of the same data and settings goes on from; removed at the end.
    checkpoint_seconds : time between two writings of it.

    Raises
    ------
    InputError : no user can be evaluated, there is nothing to train on, or the training diverges.
    """
    users = histories.held_out_users("dev", settings.evaluation_users, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        phases = _phases(histories.training_part(), settings, device)
        keeper = _Keeper(checkpoint, checkpoint_seconds, histories, settings, seed)
        progress, best = keeper.resume(phases, device)
        for report in progress.reports:
            on_epoch(report)
        for number in range(progress.phase, len(phases)):
            objective = phases[number]
            if number > progress.phase:
                objective.network.load_state_dict(best)
                progress = _Progress(number, progress.reports, len(progress.reports) + 1)
            while not _ends(objective, progress):
                report = _epoch(objective, histories, users, settings, seed, len(progress.reports) + 1, device)
                progress.reports = (*progress.reports, report)
                on_epoch(report)
                if report.dev_ndcg > progress.best_ndcg:
                    state = objective.network.state_dict().items()
                    best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state}
                    progress.best_ndcg, progress.best_epoch = report.dev_ndcg, report.epoch
                keeper.keep(objective, progress, best)
    phases[-1].network.load_state_dict(best)
    keeper.discard()
    model = phases[-1].recommender()
    return TrainedRecommender(model.requires_grad_(False).eval(), progress.best_epoch, progress.reports)


def _phases(train: TrainingHistories, settings: RecommenderSettings, device: torch.device) -> list[Objective]:
    match settings.kind:
        case "sasrec":
            return [SasrecObjective(train, settings.dimension, settings.sasrec, device)]
        case "bpr_mf":
            return [BprMfObjective(train, settings.dimension, settings.bpr_mf, device)]
        case "lightgcn":
            return [LightGcnObjective(train, settings.dimension, settings.lightgcn, device)]
        case "timirec":
            model = Timirec(train.item_count, settings.dimension, settings.timirec).to(device)
            return [phase(model, train, settings.timirec) for phase in (Pretraining, FineTuning)]
        case _:
            raise InputError(f"A recommender of kind {settings.kind} is not trained here", "It brings its own weights")


def _ends(objective: Objective, progress: _Progress) -> bool:
    done = len(progress.reports) - progress.first_epoch + 1
    latest_gain = max(progress.best_epoch - progress.first_epoch + 1, 0)
    return done >= objective.epochs or done - latest_gain >= objective.patience


def _epoch(
    objective: Objective,
    histories: TrainingHistories,
    users: np.ndarray,
    settings: RecommenderSettings,
    seed: int,
    epoch: int,
    device: torch.device,
) -> EpochReport:
    started = time.perf_counter()
    # Every epoch has randomness of its own, so that one which is run again after a restart is the same.
    random = np.random.default_rng([seed, epoch])
    torch.manual_seed(int(random.integers(2**62)))
    objective.network.train()
    losses = []
    for batch in objective.batches(random):
        loss = objective.loss({name: tensor.to(device) for name, tensor in batch.items()})
        objective.optimiser.zero_grad()
        loss.backward()
        objective.optimiser.step()
        losses.append(loss.detach())
    mean_loss = float(torch.stack(losses).double().mean())
    if not math.isfinite(mean_loss):
        raise InputError(
            f"Training diverged in epoch {epoch}", f"Set a lower recommender.{settings.kind}.learning_rate"
        )
    ranks = held_out_ranks(model_scorer(objective.recommender(), device), histories, users, "dev")
    dev_ndcg = ndcg(ranks, settings.selection_cutoff)
    return EpochReport(objective.phase, epoch, mean_loss, dev_ndcg, time.perf_counter() - started)


class _Keeper:
    """Writes and reads the checkpoint of one training."""

    def __init__(
        self, path: Path | None, seconds: float, histories: TrainingHistories, settings: RecommenderSettings, seed: int
    ) -> None:
        digest = hashlib.sha256(f"{settings.model_dump_json()} {seed} {histories.item_count}".encode())
        for part in (histories.offsets, histories.items, histories.train_ends, histories.test_starts):
            digest.update(part.tobytes())
        self.file = None if path is None else CheckpointFile(path, digest.hexdigest(), seconds)

    def resume(self, phases: list[Objective], device: torch.device) -> tuple[_Progress, dict[str, torch.Tensor]]:
        kept = None if self.file is None else self.file.load()
        if kept is None:
            return _Progress(), {}
        progress = _Progress.restore(kept.progress)
        objective = phases[progress.phase]
        objective.network.load_state_dict(kept.part("network"))
        restore_optimiser(objective.optimiser, kept.part("optimiser"))
        return progress, kept.part("best")

    def keep(self, objective: Objective, progress: _Progress, best: dict[str, torch.Tensor]) -> None:
        if self.file is None or not self.file.is_due():
            return
        groups = {
            "network": objective.network.state_dict(),
            "optimiser": optimiser_tensors(objective.optimiser),
            "best": best,
        }
        tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        self.file.save(Checkpoint(asdict(progress), tensors))

    def discard(self) -> None:
        if self.file is not None:
            self.file.discard()
