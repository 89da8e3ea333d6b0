"""What the suite asks of a recommender, whatever its family, and the batch of users it is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class Histories:
    """Interactions of a batch of users, as one flat array with offsets (compressed sparse rows).

    Parameters
    ----------
    user_indices : (batch,) int64, row of the user in the vocabulary of the model; -1 where the model has none.
    offsets : (batch + 1,) int64; the history of user b is ``items[offsets[b]:offsets[b + 1]]``.
    items : (interactions,) int64, item indices 0 to item_count-1, oldest first within a user.
    """

    user_indices: np.ndarray
    offsets: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray) -> Histories:
        """Histories of some of the users, in the order of `rows`."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Histories(self.user_indices[rows], offsets, self.items[places])


class Recommender(Protocol):
    """A trained model that holds a representation of d floats for each user and scores items from it.

    Attributes
    ----------
    kind : name of the family, a key of the settings section ``recommender``.
    dimension : d, width of a representation.
    item_count : number of items the model knows; item indices run from 0 to item_count-1.
    reads_user_index : True where a user is looked up (general and graph families); such a model knows only the users
        it was trained on. False where the user is what the history says (sequential family).
    history_length : latest interactions that the model reads; None where it reads none.
    dot_scored : True where a score is representation · item embedding, so that a part of the catalogue can be scored.
    size_names : the sizes, attributes of the model, that recommender.json states.
    architecture : the settings of the family that the weights mean nothing without; the others only decide how they
        are trained.
    settings : the settings of the family; None where `architecture` is empty.
    """

    kind: str
    dimension: int
    item_count: int
    reads_user_index: bool
    history_length: int | None
    dot_scored: bool
    size_names: tuple[str, ...]
    architecture: tuple[str, ...]
    settings: Any

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        """Turn interactions into the tensors that `represent` takes; the first axis of each is the batch."""
        ...

    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Probe the default site, the vector just before the item scores: (batch, d) float32 representations, without
        gradient and in evaluation mode.
        """
        ...

    def score(self, representations: torch.Tensor) -> torch.Tensor:
        """Score every item from (batch, d) representations of the default site: (batch, item_count)."""
        ...

    def item_embeddings(self) -> torch.Tensor:
        """The (item_count, d) matrix of item vectors that a representation is held against; (0, d) without any."""
        ...
