"""Users whose next item is known, together in arrays: those on whom strengths are chosen, or tunings are measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.bulk import stream_columns
from recsae_lib.representations.held_out import read_held_out

BLOCK_USERS = 1024


@dataclass(frozen=True)
class Users:
    """S users.

    Parameters
    ----------
    x : (S, d) float32 representations.
    targets : (S,) int64, the item that each took next.
    seen_offsets, seen_items : user s had seen ``seen_items[seen_offsets[s]:seen_offsets[s + 1]]``.
    """

    x: np.ndarray
    targets: np.ndarray
    seen_offsets: np.ndarray
    seen_items: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> Users:
        """Some of the users, by their places."""
        lengths = np.diff(self.seen_offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        seen = self.seen_items[np.repeat(self.seen_offsets[rows], lengths) + within]
        return Users(self.x[rows], self.targets[rows], offsets, seen)

    def mean_of_seen(self, values: np.ndarray) -> np.ndarray:
        """Mean of a value (n,) of the items that each user had seen, (S,); 0 of users who had seen none."""
        sums = np.add.reduceat(np.append(values[self.seen_items], 0.0), self.seen_offsets[:-1])
        lengths = np.diff(self.seen_offsets)
        means: np.ndarray = np.where(lengths > 0, sums, 0.0) / np.maximum(lengths, 1)
        return means


def read_users(folder: str, most: int, seed: int) -> Users:
    """Read at most so many of the users of a folder of dev or test rows, drawn at random.

    Raises
    ------
    InputError : nobody is held out.
    """
    blocks = list(read_held_out(folder, BLOCK_USERS))
    if not blocks:
        raise InputError(
            "No user is held out, so that no strength can be chosen and no tuning measured",
            "Give the recommender users with three interactions or more",
        )
    lengths = np.concatenate([np.diff(block.seen_offsets) for block in blocks])
    users = Users(
        np.concatenate([block.representations.numpy() for block in blocks]),
        np.concatenate([block.targets for block in blocks]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([block.seen_items for block in blocks]),
    )
    if len(users) <= most:
        return users
    return users.take(np.sort(np.random.default_rng(seed).permutation(len(users))[:most]))


def find_users(folder: str, wanted: str | None, most: int) -> tuple[list[str], Users]:
    """Read some users of a folder of dev or test rows with their ids: the first ones, or one by its id.

    Raises
    ------
    InputError : nobody of this id is held out.
    """
    ids: list[str] = []
    found: list[pa.RecordBatch] = []
    for batch in stream_columns(folder, ["user_id", "target_index", "seen_indices", "representation"]):
        if wanted is not None:
            batch = batch.filter(pc.equal(batch.column("user_id"), wanted))
        batch = batch.slice(0, most - len(ids))
        ids += batch.column("user_id").to_pylist()
        found.append(batch)
        if len(ids) == most:
            break
    if not ids:
        raise InputError(
            f"User {wanted!r} is not among the held-out users" if wanted is not None else "No user is held out",
            "Name one of them; `recsae run tune_recommendations` writes the lists of all users",
        )
    rows = pa.Table.from_batches(found).combine_chunks()
    seen, x = (rows[name].combine_chunks() for name in ("seen_indices", "representation"))
    offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(seen).to_numpy())]).astype(np.int64)
    matrix = x.flatten().to_numpy().reshape(len(ids), -1).astype(np.float32)
    return ids, Users(matrix, rows["target_index"].to_numpy().astype(np.int64), offsets, seen.flatten().to_numpy())
