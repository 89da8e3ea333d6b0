"""The histories of all users in the memory of the training machine, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsae_lib.recommenders.protocol import Histories


@dataclass(frozen=True)
class TrainingHistories:
    """Histories of users 0 to n-1, as one flat array with offsets: 4 bytes an interaction and 8 a user.

    Parameters
    ----------
    offsets : (users + 1,) int64; the history of user u is ``items[offsets[u]:offsets[u + 1]]``.
    items : (interactions,) int32, item indices 0 to item_count-1, oldest first within a user.
    item_count : number of items of the catalogue.
    """

    offsets: np.ndarray
    items: np.ndarray
    item_count: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Interactions of each user, (users,) int64."""
        return np.diff(self.offsets)

    def contexts(self, users: np.ndarray, held_out: int) -> Histories:
        """Return the histories of some users without their last `held_out` interactions."""
        starts = self.offsets[users]
        lengths = self.offsets[users + 1] - held_out - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Histories(users, offsets, self.items[positions].astype(np.int64))
