"""Rows that arrive sorted by latent, in Arrow batches of any size, cut into the rows of one latent after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

ArrowMap = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def latent_runs(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """Yield each latent with an iterator over its rows, which may go over several batches.

    Only one batch is held at a time: a latent that fires for very many users needs no more memory than another. The
    iterator of a latent must be used up before the next latent is asked for.

    Parameters
    ----------
    batches : with a column latent_id (int32) whose equal values stand next to each other over all batches.
    """
    pieces = _pieces(batches)
    following = next(pieces, None)

    def rows_of(latent: int) -> Iterator[pa.RecordBatch]:
        nonlocal following
        while following is not None and following[0] == latent:
            rows = following[1]
            following = next(pieces, None)
            yield rows

    while following is not None:
        latent = following[0]
        yield latent, rows_of(latent)


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    for batch in batches:
        latents = batch.column("latent_id").to_numpy()
        starts = np.flatnonzero(np.diff(latents, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(latents)], strict=True):
            yield int(latents[start]), batch.slice(start, end - start)
