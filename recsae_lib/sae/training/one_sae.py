"""One SAE under way: begun or restored, trained batch by batch and pass by pass (METHOD.md section 2)."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch

from recsae_lib.config import SaeSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.compute.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from recsae_lib.sae.clusters import cluster_directions
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.ranks import Ranks
from recsae_lib.sae.training.state import TrainingState


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
class SaeChoice:
    """One SAE to train.

    Parameters
    ----------
    settings : its size, variant and optimiser.
    seed : of its initial weights.
    start : an SAE of the same sizes that takes raw representations, to go on from instead of random weights.
    replica : number of a replica, from 1; 0 of what is no replica.
    """

    settings: SaeSettings
    seed: int
    start: SparseAutoencoder | None = None
    replica: int = 0


@dataclass
class Position:
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


class SaeTraining:
    """One SAE under way.

    Parameters
    ----------
    sae : takes scaled representations.
    initial, best : take raw ones, on the CPU.
    """

    def __init__(
        self,
        choice: SaeChoice,
        position: Position,
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
    def begin(
        cls, choice: SaeChoice, position: Position, sample: torch.Tensor, many: torch.Tensor, ranks: Ranks
    ) -> SaeTraining:
        """Initialise on a sample of scaled representations, and on more of them for clusters, or take the weights that
        are there.
        """
        settings = choice.settings
        num_latents = settings.expansion_factor * sample.shape[1]
        sae = SparseAutoencoder.initialise(sample, num_latents, settings.k, choice.seed)
        initial = sae.scaled(position.scale).cpu()
        if choice.start is not None:
            sae = _start_of(choice, sae, position.scale)
        elif settings.initial_directions == "clusters":
            sae = _with_directions(sae, ranks.gather(cluster_directions(many, num_latents, choice.seed))[:num_latents])
        return cls(choice, position, sae, initial, deepcopy(initial), ranks)

    @classmethod
    def restore(cls, choice: SaeChoice, position: Position, kept: Checkpoint, device: str, ranks: Ranks) -> SaeTraining:
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


def _with_directions(sae: SparseAutoencoder, directions: torch.Tensor) -> SparseAutoencoder:
    """Return the SAE with given rows of W_enc and W_dec, (M, d); its own stay where a given one is zero."""
    rows = torch.where(directions.any(1, keepdim=True), directions, sae.W_dec.detach())
    return SparseAutoencoder(rows.clone(), sae.b_enc.detach(), rows, sae.b_dec.detach(), sae.k)


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
