"""Lists of recommendations from moved representations, or from scores with something added (a re-ranker)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.recommend import BLOCK_SCORES, scores_in_parts
from recsae_lib.recommenders.top_items import top_items
from recsae_lib.tuning.held_out import Users

LIST_LENGTH = 10  # places of a list that is measured
BLOCK_USERS = 1024  # scored at once


def best_lists(
    recommender: Recommender, users: Users, x: np.ndarray, bonus: np.ndarray | None = None, length: int = LIST_LENGTH
) -> np.ndarray:
    """The first items of each user, seen ones left out.

    Parameters
    ----------
    x : (S, d) float32, of these users, moved or not.
    bonus : (n,) float32, is added to the scores of all users; None for none.

    Returns
    -------
    (S, length) int64 item indices, best first; -1 where there is no item.
    """
    rows = BLOCK_USERS if recommender.dot_scored else max(1, min(BLOCK_USERS, BLOCK_SCORES // recommender.item_count))
    best = np.empty((len(users), length), dtype=np.int64)
    for start in range(0, len(users), rows):
        block = users.take(np.arange(start, min(start + rows, len(users))))
        vectors = torch.from_numpy(np.ascontiguousarray(x[start : start + rows], dtype=np.float32))
        parts = with_bonus(scores_in_parts(recommender, vectors), bonus)
        found, scores = top_items(parts, block.seen_offsets, block.seen_items, length)
        best[start : start + rows] = np.where(scores > -np.inf, found, -1)
    return best


def with_bonus(parts: Iterator[np.ndarray], bonus: np.ndarray | None) -> Iterator[np.ndarray]:
    """Add what each item is given to scores that come in parts of the catalogue."""
    first = 0
    for part in parts:
        if bonus is not None:
            part = part + bonus[first : first + part.shape[1]]
        first += part.shape[1]
        yield part


def overlaps(lists: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Share of the places of each user's list before whose item is still there, (S,); 1 for users without items."""
    places = (before >= 0).sum(1)
    same = ((lists[:, :, None] == before[:, None, :]).any(1) & (before >= 0)).sum(1)
    shares: np.ndarray = np.where(places > 0, same / np.maximum(places, 1), 1.0)
    return shares


def gains(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """NDCG of each user's list with one relevant item, (S,): 1 / log2(1 + place), 0 where it is not there."""
    hits = lists == targets[:, None]
    values: np.ndarray = (hits / np.log2(np.arange(2, lists.shape[1] + 2))).sum(1)
    return values
