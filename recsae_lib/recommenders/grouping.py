"""Rows sorted by user to one row a user, by Arrow kernels. Spark's workers import this module: it needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

INPUT_COLUMNS = "user_id string, user_index int, item_indices array<int>, train_end int, test_start int"


def group_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Turn (user_id, user_index, item_index, period) rows, those of a user next to each other, into `INPUT_COLUMNS`.

    train_end counts the rows of period 0, test_start those of 0 and 1. The rows of the last user of a batch wait for
    the next one.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        starts = _starts(batch.column("user_id"))
        if len(starts) == 0:
            continue
        if waiting and waiting[-1].column("user_id")[0] != batch.column("user_id")[0]:
            yield _grouped(waiting)
            waiting = []
        if len(starts) > 1:
            yield _grouped([*waiting, batch.slice(0, starts[-1])])
            waiting = []
        waiting.append(batch.slice(starts[-1]))
    if waiting:
        yield _grouped(waiting)


def _starts(user_ids: pa.Array) -> np.ndarray:
    """Positions at which another user begins than stands before."""
    if len(user_ids) == 0:
        return np.array([], dtype=np.int64)
    changes = pc.not_equal(user_ids.slice(1), user_ids.slice(0, len(user_ids) - 1))
    return np.concatenate([[0], np.flatnonzero(changes.to_numpy(zero_copy_only=False)) + 1])


def _grouped(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = [pa.concat_arrays([piece.column(name) for piece in pieces]) for name in pieces[0].schema.names]
    user_ids, user_indices, item_indices, periods = columns
    starts = _starts(user_ids)
    offsets = np.append(starts, len(user_ids)).astype(np.int32)
    first, period = pa.array(starts), periods.to_numpy()
    counts = [pa.array(np.add.reduceat(period <= last, starts, dtype=np.int32)) for last in (0, 1)]
    return pa.RecordBatch.from_arrays(
        [user_ids.take(first), user_indices.take(first), pa.ListArray.from_arrays(offsets, item_indices), *counts],
        names=["user_id", "user_index", "item_indices", "train_end", "test_start"],
    )
