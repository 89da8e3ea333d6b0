"""The BPR loss and the negatives it is computed with."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.errors import InputError
from recsae_lib.recommenders.training_histories import TrainingHistories

MOST_DRAWS = 20  # for a user who knows most of the catalogue; then an item they know has to do


class Negatives:
    """Draws items, all as likely as each other, that a user has not interacted with in the training part.

    Holds 8 bytes an interaction.

    Raises
    ------
    InputError : there is no interaction to draw a negative for.
    """

    def __init__(self, train: TrainingHistories) -> None:
        if len(train.items) == 0:
            raise InputError("There is nothing to train on", "Ingest interactions first")
        users = np.repeat(np.arange(len(train), dtype=np.int64), train.lengths)
        self.item_count = train.item_count
        self._known = users * train.item_count + train.items
        self._known.sort()

    def draw(self, users: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Draw one item for each entry of `users`, an array of user indices of any shape."""
        items = random.integers(0, self.item_count, users.shape)
        again = np.nonzero(self._knows(users, items))
        for _ in range(MOST_DRAWS):
            if len(again[0]) == 0:
                break
            items[again] = random.integers(0, self.item_count, len(again[0]))
            still = self._knows(users[again], items[again])
            again = tuple(axis[still] for axis in again)
        return items

    def _knows(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        wanted = users.astype(np.int64) * self.item_count + items
        found = np.searchsorted(self._known, wanted)
        return np.asarray(self._known[np.minimum(found, len(self._known) - 1)] == wanted)


def bpr_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking: mean of −ln σ(score of the interaction − score of the negative)."""
    return -F.logsigmoid(positive - negative).mean()
