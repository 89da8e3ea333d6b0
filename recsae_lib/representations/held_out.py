"""Reading of held-out users: their representation, what they had seen, and the item that came next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import torch

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.bulk import parquet_files


@dataclass(frozen=True)
class HeldOutUsers:
    """A block of users whose next item is known but was kept from the recommender.

    Parameters
    ----------
    representations : (users, d) float32, after all that the users had seen.
    targets : (users,) int64 item indices: what they took next.
    seen_offsets, seen_items : int64; user b had seen ``seen_items[seen_offsets[b]:seen_offsets[b + 1]]``.
    """

    representations: torch.Tensor
    targets: np.ndarray
    seen_offsets: np.ndarray
    seen_items: np.ndarray


def read_held_out(folder: str, block_users: int) -> Iterator[HeldOutUsers]:
    """Stream a folder that `extract` made of rows ``dev`` or ``test``, in blocks of at most `block_users`.

    Raises
    ------
    InputError : a file is damaged, or the representations are not all of one dimension.
    """
    file_system, files = parquet_files(folder)
    columns = ["target_index", "seen_indices", "representation"]
    try:
        batches = ds.dataset(list(files), filesystem=file_system, format="parquet").to_batches(
            columns=columns, batch_size=block_users
        )
        for batch in batches:
            if batch.num_rows:
                yield _block(batch)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{folder} holds no intact held-out users ({error})", "Run the job extract_representations again"
        ) from error


def _block(batch: pa.RecordBatch) -> HeldOutUsers:
    seen, x = batch.column("seen_indices"), batch.column("representation")
    matrix = np.array(x.flatten().to_numpy(zero_copy_only=True), dtype=np.float32).reshape(batch.num_rows, -1)
    return HeldOutUsers(
        torch.from_numpy(matrix),
        batch.column("target_index").to_numpy().astype(np.int64),
        np.concatenate([[0], np.cumsum(np.diff(seen.offsets.to_numpy()))]).astype(np.int64),
        seen.flatten().to_numpy().astype(np.int64),
    )
