"""Histories for tests, held out leave-one-out."""

from __future__ import annotations

import numpy as np

from recsae_lib.recommenders.training_histories import TrainingHistories


def histories_of(users: list[list[int]], item_count: int) -> TrainingHistories:
    """Hold out the last item of each user for test, and the one before for dev, where there are three or more."""
    lengths = np.array([len(user) for user in users], dtype=np.int32)
    held_out = (lengths >= 3).astype(np.int32)
    return TrainingHistories(
        np.cumsum([0, *lengths]),
        np.array([item for user in users for item in user], dtype=np.int32),
        item_count,
        lengths - 2 * held_out,
        lengths - held_out,
    )


def all_for_training(users: list[list[int]], item_count: int) -> TrainingHistories:
    """Hold out nothing."""
    histories = histories_of(users, item_count)
    ends = histories.lengths.astype(np.int32)
    return TrainingHistories(histories.offsets, histories.items, item_count, ends, ends)
