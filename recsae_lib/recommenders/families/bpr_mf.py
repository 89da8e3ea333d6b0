"""BPR-MF: a vector for every user and every item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from recsae_lib.config import BprMfSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.dot_scored import DotScored
from recsae_lib.recommenders.families.negatives import Negatives, bpr_loss
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.training_histories import TrainingHistories

INITIAL_DEVIATION = 0.04
CHUNK_BATCHES = 256  # batches whose negatives are drawn at once


class BprMf(DotScored):
    """Matrix factorisation (Rendle et al., BPR, arXiv 1205.2618).

    ::

        x       = P[u]              x ∈ R^d
        score_i = x · Q[i]

    It knows only the users it was trained on.

    Parameters
    ----------
    user_count : P is (user_count, d).
    item_count : n; Q is (n, d).
    dimension : d
    """

    kind = "bpr_mf"
    reads_user_index = True
    history_length: int | None = None
    size_names: tuple[str, ...] = ("user_count", "item_count", "dimension")
    architecture: tuple[str, ...] = ()
    settings = None  # none of them shapes the weights

    def __init__(self, user_count: int, item_count: int, dimension: int) -> None:
        super().__init__()
        self.user_count, self.item_count, self.dimension = user_count, item_count, dimension
        # Sparse gradients: a step touches the rows of its batch, however many users there are.
        self.users = torch.nn.Embedding(user_count, dimension, sparse=True)
        self.items = torch.nn.Embedding(item_count, dimension, sparse=True)
        for table in (self.users, self.items):
            torch.nn.init.normal_(table.weight, std=INITIAL_DEVIATION)

    @classmethod
    def from_description(cls, sizes: dict[str, int], settings: dict[str, Any]) -> BprMf:
        """Build what recommender.json describes; the weights are still to be loaded."""
        return cls(**sizes)

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        """Take the user indices, ``users`` (batch,); the items of the histories are not read.

        Raises
        ------
        InputError : a user is none that the model knows.
        """
        users = histories.user_indices
        if len(users) and not 0 <= users.min() <= users.max() < self.user_count:
            raise InputError("A user is not known to the recommender", "Leave them out, or train it again")
        return {"users": torch.tensor(users, dtype=torch.int64)}

    @torch.no_grad()
    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return x = P[u], (batch, d)."""
        x: torch.Tensor = self.users(inputs["users"])
        return x


class BprMfObjective:
    """Rank what a user interacted with before what they did not.

    ::

        L = mean over (u, i, j) of −ln σ(P[u] · Q[i] − P[u] · Q[j]) + λ/2 (‖P[u]‖² + ‖Q[i]‖² + ‖Q[j]‖²)

    (u, i) is an interaction of the training part, j a sampled negative, λ the setting l2. Adam moves only the rows of
    the batch (torch's SparseAdam), so a step costs the same however large the tables are.

    Parameters
    ----------
    train : training part of the histories.
    settings : learning rate, l2, interactions a batch.

    Raises
    ------
    InputError : there is nothing to train on.
    """

    phase = "training"

    def __init__(self, train: TrainingHistories, dimension: int, settings: BprMfSettings, device: torch.device) -> None:
        self.train, self.settings = train, settings
        self.epochs, self.patience = settings.epochs, settings.patience
        self.negatives = Negatives(train)
        self.network = BprMf(len(train), train.item_count, dimension).to(device)
        self.optimiser = torch.optim.SparseAdam(list(self.network.parameters()), lr=settings.learning_rate)

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the interactions in random order: ``users``, ``items``, ``negatives``, each (batch,)."""
        return sampled_interactions(self.train, self.negatives, self.settings.batch_size, random)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the interactions of a batch."""
        users, items = self.network.users(batch["users"]), self.network.items(batch["items"])
        negatives = self.network.items(batch["negatives"])
        norms = torch.stack([rows.square().sum(1).mean() for rows in (users, items, negatives)]).sum()
        return bpr_loss((users * items).sum(1), (users * negatives).sum(1)) + self.settings.l2 / 2 * norms

    def recommender(self) -> BprMf:
        """Return the model."""
        return self.network


def sampled_interactions(
    train: TrainingHistories, negatives: Negatives, batch_size: int, random: np.random.Generator
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the interactions in random order, each with a negative: ``users``, ``items``, ``negatives``, (batch,)."""
    order = random.permutation(len(train.items))
    for start in range(0, len(order), CHUNK_BATCHES * batch_size):
        positions = order[start : start + CHUNK_BATCHES * batch_size]
        users = np.searchsorted(train.offsets, positions, side="right") - 1
        columns = {
            "users": users,
            "items": train.items[positions].astype(np.int64),
            "negatives": negatives.draw(users, random),
        }
        for begin in range(0, len(positions), batch_size):
            yield {name: torch.from_numpy(values[begin : begin + batch_size]) for name, values in columns.items()}
