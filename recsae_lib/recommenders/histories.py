"""From Arrow batches, as Spark hands them to Python, to the `Histories` that a recommender takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsae_lib.errors import InputError
from recsae_lib.recommenders.protocol import Histories

NO_USER = -1


def histories_from_arrow(user_index_column: pa.Array, item_indices_column: pa.ListArray) -> Histories:
    """Read two columns of a batch; values are copied only where their type or nulls ask for it.

    Parameters
    ----------
    user_index_column : (batch,) integers; null becomes -1, a user whom the model does not know.
    item_indices_column : (batch,) lists of integers, oldest first. May be a slice of a longer array.

    Raises
    ------
    InputError : a history or an item of one is null.
    """
    offsets = item_indices_column.offsets.to_numpy().astype(np.int64)
    # `flatten` would leave null lists out, but a slice's values still begin where the slice does.
    items = item_indices_column.values.slice(offsets[0], offsets[-1] - offsets[0])
    if item_indices_column.null_count or items.null_count:
        raise InputError("A history is null or holds a null item", "Give each user a list of item indices")
    return Histories(
        user_indices=pc.fill_null(user_index_column, NO_USER)
        .to_numpy(zero_copy_only=False)
        .astype(np.int64, copy=False),
        offsets=offsets - offsets[0],
        items=items.to_numpy().astype(np.int64, copy=False),
    )
