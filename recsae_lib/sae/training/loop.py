"""Training of the sparse autoencoder on a stream of representations (METHOD.md section 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice, repeat

import numpy as np
import torch

from recsae_lib.errors import InputError, StoppedError
from recsae_lib.platform.compute.checkpoint import Checkpoint, CheckpointFile
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments
from recsae_lib.sae.reach import Reach, bounded_rows, first_rows
from recsae_lib.sae.training.one_sae import EpochReport, Position, SaeChoice, SaeTraining
from recsae_lib.sae.training.ranks import ALONE, Ranks

SAMPLE_ROWS = 1024  # rows that initialisation looks at, but for clusters, which need more
CENTRE = "reach.centre"  # in a checkpoint


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

    Pass 0 only measures: a sample for initialisation, its reach, and the total variance of the training set. Inside,
    rows beyond reach are moved to its edge, so that none of them dominates, and representations are divided by one
    scalar (to unit variance a dimension, so that one learning rate suits every recommender); the weights that come back
    take raw ones. A training that was interrupted anywhere and goes on from
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
        clusters = any(choice.settings.initial_directions == "clusters" for choice in choices)
        position, reach, sample, many = _measure(batches_of(0), dimension, device, ranks, clusters)
        trainings = [SaeTraining.begin(choice, position, sample, many, ranks) for choice in choices]
    else:
        position = Position(**kept.progress["position"])
        reach = Reach(kept.tensors[CENTRE].to(device), kept.progress["radius"])
        trainings = [
            SaeTraining.restore(choice, position, Checkpoint(values, kept.part(str(number))), device, ranks)
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
            x = _scaled(batch, reach, position.scale, device)
            for training in active:
                training.take(x)
            position.batches, position.seconds = position.batches + 1, time.perf_counter() - started
            (stops,) = ranks.largest([stop()], device)
            if checkpoint is not None and ranks.rank == 0 and (stops or checkpoint.is_due()):
                _save(checkpoint, position, reach, trainings)
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


def _scaled(batch: torch.Tensor, reach: Reach, scale: float, device: str) -> torch.Tensor:
    """Bring within reach and divide by the scale, on the device; on a CPU by numpy, which leaves the threads alone (see
    `SparseStep`).
    """
    x = batch.to(device)
    if x.device.type == "cpu":
        return torch.from_numpy(reach.clip(x.numpy()) / np.float32(scale))
    return reach.clip(x) / scale


def _require_same_start(kept: Checkpoint | None, ranks: Ranks, device: str) -> None:
    """Raise InputError where the processes found different checkpoints."""
    place = [-1, -1] if kept is None else [kept.progress["position"][name] for name in ("epoch", "batches")]
    later, earlier = ranks.largest(place, device), ranks.largest([-number for number in place], device)
    if later != [-number for number in earlier]:
        raise InputError(
            "The training processes do not see the same checkpoint", "Put paths.var on storage that all of them share"
        )


def _measure(
    batches: Iterator[torch.Tensor], dimension: int, device: str, ranks: Ranks, clusters: bool
) -> tuple[Position, Reach, torch.Tensor, torch.Tensor]:
    """Return the scale of the training set, its reach, and a sample and, for clusters, a large sample of it, within
    reach and scaled.
    """
    few, many = (max(rows // ranks.world_size, 1) for rows in (SAMPLE_ROWS, bounded_rows(dimension)))
    own_sample, every = first_rows(batches, many if clusters else few, dimension)
    sample = ranks.gather(own_sample[:few].to(device))
    large = ranks.gather(own_sample.to(device)) if clusters else sample
    reach = Reach.of(sample)
    moments, steps = RunningMoments(dimension, device), 0
    for batch in every:
        moments.add(reach.clip(batch.to(device)))
        steps += 1
    (steps,) = ranks.largest([steps], device)
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
    return Position(moments.rows, scale, steps), reach, reach.clip(sample) / scale, reach.clip(large) / scale


def _save(checkpoint: CheckpointFile, position: Position, reach: Reach, trainings: Sequence[SaeTraining]) -> None:
    tensors = {CENTRE: reach.centre} | {
        f"{number}.{name}": tensor
        for number, training in enumerate(trainings)
        for name, tensor in training.tensors().items()
    }
    of_each = [training.values() for training in trainings]
    progress = {"position": asdict(position), "radius": reach.radius, "trainings": of_each}
    checkpoint.save(Checkpoint(progress, tensors))
