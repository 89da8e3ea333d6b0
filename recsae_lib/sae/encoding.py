"""Encoding of representations in Arrow batches, for Spark's mapInArrow; the module itself knows only Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from recsae_lib.errors import InputError
from recsae_lib.sae.model import SparseAutoencoder, top_activations
from recsae_lib.sae.store import load_sae, weights_digest

ENCODED_COLUMNS = "user_id string, latent_ids array<int>, activations array<float>"
CHUNK_ROWS = 1024
BUFFER_BYTES = 64 * 2**20  # of pre-activations; a dictionary of more than 16k latents gets fewer rows a chunk

ArrowMap = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]
# Fills the second argument, (rows, units), with the pre-activations of the first, (rows, d).
PreActivations = Callable[[np.ndarray, torch.Tensor], None]


def encode_batches(folder: str | PathLike[str]) -> ArrowMap:
    """Make the function that encodes Arrow batches with the SAE in `folder`, a path that is resolved in the worker.

    Batches come with columns user_id and representation (list<float>) and leave with `ENCODED_COLUMNS`: the positive
    activations, at most k, falling, equal ones by latent id.

    Raises
    ------
    InputError : (in the worker) the representations have not the SAE's dimension, are ragged, null or not finite.
    """

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        local = Path(folder)
        sae = _worker_sae(local, weights_digest(local))
        centred = np.empty((CHUNK_ROWS, sae.dimension), dtype=np.float32)
        b_dec, encoder = sae.b_dec.detach().numpy(), sae.W_enc.detach().T

        def pre_activations(x: np.ndarray, out: torch.Tensor) -> None:
            np.subtract(x, b_dec, out=centred[: len(x)])
            torch.addmm(sae.b_enc.detach(), torch.from_numpy(centred[: len(x)]), encoder, out=out)

        return _encode(batches, sae.dimension, sae.num_latents, sae.k, pre_activations)

    return encode


def dimension_batches(mean: Sequence[float], deviation: Sequence[float], k: int) -> ArrowMap:
    """Make the function that encodes with the raw dimensions of x as units, each sign one (method.md section 6).

    ::

        unit 2j = ReLU(x_j − mean_j) / deviation_j        unit 2j + 1 = ReLU(mean_j − x_j) / deviation_j

    The k largest are kept; a dimension without deviation never fires. Columns and errors as in `encode_batches`.

    Parameters
    ----------
    mean, deviation : of each of the d dimensions, over all users.
    """
    centre = np.asarray(mean, dtype=np.float32)
    spread = np.asarray(deviation, dtype=np.float32)
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    dimension = len(centre)

    def pre_activations(x: np.ndarray, out: torch.Tensor) -> None:
        standardised = (x - centre) * inverse
        out.numpy()[:, 0::2] = standardised
        out.numpy()[:, 1::2] = -standardised

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _encode(batches, dimension, 2 * dimension, min(k, 2 * dimension), pre_activations)

    return encode


def dimension_directions(dimension: int) -> np.ndarray:
    """Direction (2d, d) that each unit of `dimension_batches` stands for: ±1 in its own dimension."""
    identity = np.eye(dimension, dtype=np.float32)
    return np.stack([identity, -identity], axis=1).reshape(2 * dimension, dimension)


@lru_cache(maxsize=1)
def _worker_sae(folder: Path, digest: str) -> SparseAutoencoder:
    """Load the weights once a worker process; the digest is part of the key because a folder may be written anew."""
    return load_sae(folder)


def _encode(
    batches: Iterable[pa.RecordBatch], dimension: int, units: int, k: int, pre_activations: PreActivations
) -> Iterator[pa.RecordBatch]:
    torch.set_num_threads(1)  # Spark runs one task a core already
    rows_at_once = max(1, min(CHUNK_ROWS, BUFFER_BYTES // (4 * units)))
    buffer = torch.empty(rows_at_once, units)
    for batch in batches:
        x = _matrix(batch.column(batch.schema.get_field_index("representation")), dimension)
        counts, ids, activations = [np.zeros(1, dtype=np.int32)], [], []
        for start in range(0, len(x), rows_at_once):
            chunk = x[start : start + rows_at_once]
            out = buffer[: len(chunk)]
            pre_activations(chunk, out)
            values, latents = top_activations(out, k)
            active = values > 0
            counts.append(active.sum(1).numpy().astype(np.int32))
            ids.append(latents[active].numpy().astype(np.int32))
            activations.append(values[active].numpy())
        offsets = pa.array(np.cumsum(np.concatenate(counts), dtype=np.int32))
        yield pa.RecordBatch.from_arrays(
            [
                batch.column(batch.schema.get_field_index("user_id")),
                pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([np.empty(0, np.int32), *ids]))),
                pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([np.empty(0, np.float32), *activations]))),
            ],
            names=["user_id", "latent_ids", "activations"],
        )


def _matrix(column: pa.ListArray, dimension: int) -> np.ndarray:
    """View a list<float> column as a (rows, d) float32 matrix, without a copy."""
    if not (pa.types.is_list(column.type) and pa.types.is_float32(column.type.value_type)):
        raise _refused(f"the column is {column.type}, not list<float>")
    values = column.flatten()
    if column.null_count or values.null_count:
        raise _refused("some are null or hold nulls")
    lengths = np.diff(column.offsets.to_numpy())
    if (lengths != dimension).any():
        raise _refused(f"they hold {lengths.min()} to {lengths.max()} numbers, the SAE takes {dimension}")
    matrix = values.to_numpy(zero_copy_only=True).reshape(-1, dimension)
    if not np.isfinite(matrix).all():
        raise _refused("some hold NaN or an infinite number")
    return matrix


def _refused(cause: str) -> InputError:
    return InputError(
        f"The representations cannot be encoded: {cause}",
        "Extract them again, at the probing site and from the recommender that the SAE was trained on",
    )
