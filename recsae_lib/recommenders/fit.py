"""Training of a recommender with early stopping on held-out items: one loop for every family."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from recsae_lib.config import BprMfSettings, RecommenderSettings, SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.bpr_mf import BprMf, BprMfObjective
from recsae_lib.recommenders.evaluation import (
    DEV,
    evaluated_users,
    held_out_ranks,
    model_scorer,
    ndcg,
    training_part,
)
from recsae_lib.recommenders.sasrec import Sasrec, SasrecObjective
from recsae_lib.recommenders.training_histories import TrainingHistories

# What the loop needs of a family: `model` and `optimiser`, the `batches` of an epoch, the `loss` of a batch.
Objective = SasrecObjective | BprMfObjective


@dataclass(frozen=True)
class EpochReport:
    """What one pass over the training part gave.

    Parameters
    ----------
    epoch : from 1.
    loss : mean over the batches of the pass, while the weights moved.
    dev_ndcg : NDCG at the selection cut-off of the dev items, after the pass.
    seconds : wall time of pass and evaluation.
    """

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

    model: Sasrec | BprMf
    best_epoch: int
    reports: tuple[EpochReport, ...]


def fit(
    histories: TrainingHistories,
    settings: RecommenderSettings,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[EpochReport], None],
) -> TrainedRecommender:
    """Train on all but the last two interactions of each user, until the dev NDCG has not risen for `patience` epochs.

    Users with fewer than three interactions train with all they have and are not evaluated. Two runs on a CPU with as
    many threads give the same weights to the last bit.

    Parameters
    ----------
    histories : whole histories of all users.
    seed : of the initial weights, the order, the negatives, dropout and the draw of evaluated users.
    on_epoch : is told of each pass when it ends.

    Raises
    ------
    InputError : no user can be evaluated, there is nothing to train on, or the training diverges.
    """
    users = evaluated_users(histories, settings.evaluation_users, seed)
    train = training_part(histories)
    own: SasrecSettings | BprMfSettings = getattr(settings, settings.kind)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        objective = _objective(train, settings, device)
        model = objective.model
        scorer = model_scorer(model, device)
        best: dict[str, torch.Tensor] = {}
        best_ndcg, best_epoch = -1.0, 0
        reports: list[EpochReport] = []
        for epoch in range(1, own.epochs + 1):
            started = time.perf_counter()
            loss = _train_epoch(objective, np.random.default_rng([seed, epoch]), device)
            if not math.isfinite(loss):
                raise InputError(
                    f"Training diverged in epoch {epoch}", f"Set a lower recommender.{settings.kind}.learning_rate"
                )
            dev_ndcg = ndcg(held_out_ranks(scorer, histories, users, DEV), settings.selection_cutoff)
            reports.append(EpochReport(epoch, loss, dev_ndcg, time.perf_counter() - started))
            on_epoch(reports[-1])
            if dev_ndcg > best_ndcg:
                best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
                best_ndcg, best_epoch = dev_ndcg, epoch
            elif epoch - best_epoch >= own.patience:
                break
    model.load_state_dict(best)
    return TrainedRecommender(model.requires_grad_(False).eval(), best_epoch, tuple(reports))


def _objective(train: TrainingHistories, settings: RecommenderSettings, device: torch.device) -> Objective:
    if settings.kind == "sasrec":
        return SasrecObjective(train, settings.dimension, settings.sasrec, device)
    return BprMfObjective(train, settings.dimension, settings.bpr_mf, device)


def _train_epoch(objective: Objective, random: np.random.Generator, device: torch.device) -> float:
    objective.model.train()
    losses = []
    for batch in objective.batches(random):
        loss = objective.loss({name: tensor.to(device) for name, tensor in batch.items()})
        objective.optimiser.zero_grad()
        loss.backward()
        objective.optimiser.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).double().mean())
