"""The histories of all users in the memory of the training machine, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsae_lib.errors import InputError
from recsae_lib.recommenders.protocol import Histories

HeldOut = Literal["dev", "test"]


@dataclass(frozen=True)
class TrainingHistories:
    """Histories of users 0 to n-1, as one flat array with offsets: 4 bytes an interaction and 16 a user.

    Parameters
    ----------
    offsets : (users + 1,) int64; the history of user u is ``items[offsets[u]:offsets[u + 1]]``.
    items : (interactions,) int32, item indices 0 to item_count-1, oldest first within a user.
    item_count : number of items of the catalogue.
    train_ends, test_starts : (users,) int32, how many of a user's interactions are for training, and how many come
        before the test period (`split`).
    """

    offsets: np.ndarray
    items: np.ndarray
    item_count: int
    train_ends: np.ndarray
    test_starts: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Interactions of each user, (users,) int64."""
        return np.diff(self.offsets)

    def training_part(self) -> TrainingHistories:
        """Leave out what is held out; users stay, even without an interaction."""
        offsets = np.concatenate([[0], np.cumsum(self.train_ends, dtype=np.int64)])
        kept = _positions(self.offsets[:-1], self.train_ends, offsets)
        return TrainingHistories(offsets, self.items[kept], self.item_count, self.train_ends, self.train_ends)

    def held_out_users(self, held_out: HeldOut, count: int, seed: int) -> np.ndarray:
        """Draw up to `count` of the users with such a held-out item, (users,) int64, rising.

        Raises
        ------
        InputError : there is none.
        """
        ends = self.test_starts if held_out == "dev" else self.lengths
        users = np.flatnonzero((self.train_ends >= 1) & (self._context_lengths(held_out) < ends))
        if len(users) == 0:
            raise InputError(
                f"No user has a {held_out} item after training interactions, so that no recommender can be evaluated",
                "Ingest longer histories (three interactions of a user at least), or set recommender.split",
            )
        if len(users) <= count:
            return users
        return np.sort(np.random.default_rng(seed).choice(users, size=count, replace=False))

    def contexts(self, users: np.ndarray, held_out: HeldOut) -> Histories:
        """Return what some users did before their held-out item."""
        lengths = self._context_lengths(held_out)[users].astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Histories(users, offsets, self.items[_positions(self.offsets[users], lengths, offsets)].astype(np.int64))

    def targets(self, users: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Return the held-out item of each user, (users,) int64."""
        return self.items[self.offsets[users] + self._context_lengths(held_out)[users]].astype(np.int64)

    def _context_lengths(self, held_out: HeldOut) -> np.ndarray:
        return self.train_ends if held_out == "dev" else self.test_starts


def _positions(starts: np.ndarray, lengths: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Positions starts[u] … starts[u] + lengths[u] − 1 of all users u, one after the other."""
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
