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
from recsae_lib.sae.kernels.block_encoder import BlockEncoder
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.reach import Reach
from recsae_lib.sae.store import load_sae, weights_digest

ENCODED_COLUMNS = "user_id string, latent_ids array<int>, activations array<float>"
KEPT_DICTIONARIES = 16  # in a worker process; their weights stay mapped from the files
MEASURED_COLUMNS = ("fvu", "distance")  # beside them, where a sample says what is ordinary

ArrowMap = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]
# Writes activations and ids, (rows, k) each, of the first argument, (rows, d).
Activate = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
# Gives `MEASURED_COLUMNS` of the same three.
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def encode_batches(folder: str | PathLike[str], sample: np.ndarray | None = None) -> ArrowMap:
    """Make the function that encodes Arrow batches with the SAE in `folder`, a path that is resolved in the worker.

    Batches come with columns user_id and representation (list<float>) and leave with `ENCODED_COLUMNS`: the positive
    activations, at most k, falling, equal ones by latent id. With a sample also with `MEASURED_COLUMNS`::

        fvu      = ‖x − x̂‖² / ‖x − mean‖²       null where x is the mean
        distance = ‖x − centre‖ / radius         of the reach: above 1 x lies beyond it

    Parameters
    ----------
    sample : (n, d) float32, a random sample of the representations: its reach, and the mean of its rows within reach.

    Raises
    ------
    InputError : (in the worker) the representations have not the SAE's dimension, are ragged, null or not finite.
    """
    reach = None if sample is None else Reach.of(torch.from_numpy(sample))
    mean = None if sample is None or reach is None else reach.clip(sample).mean(0, dtype=np.float64)

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sae = worker_sae(Path(folder))
        encoder = BlockEncoder(sae.num_latents)
        b_dec = sae.b_dec.detach().numpy()

        def activate(x: np.ndarray, activations: np.ndarray, latent_ids: np.ndarray) -> None:
            sae.encode_centred(encoder, torch.from_numpy(x - b_dec), activations, latent_ids)

        @torch.no_grad()
        def measure(x: np.ndarray, activations: np.ndarray, latent_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert reach is not None
            x_hat = sae.decode(torch.from_numpy(activations), torch.from_numpy(latent_ids).long()).numpy()
            missed, spread = (np.square(x - other, dtype=np.float64).sum(1) for other in (x_hat, mean))
            fvu = np.divide(missed, spread, out=np.full(len(x), np.nan), where=spread > 0)
            return fvu, reach.distances(x).astype(np.float64)

        return _encode(batches, sae.dimension, sae.k, activate, measure if reach is not None else None)

    return encode


def dimension_batches(mean: Sequence[float], deviation: Sequence[float], k: int) -> ArrowMap:
    """Make the function that encodes with the raw dimensions of x as units, each sign one (METHOD.md section 6).

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

    kept = min(k, 2 * dimension)

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder, no_bias = BlockEncoder(2 * dimension), np.zeros(2 * dimension, np.float32)

        def activate(x: np.ndarray, activations: np.ndarray, latent_ids: np.ndarray) -> None:
            standardised = (x - centre) * inverse
            units = np.stack([standardised, -standardised], axis=2).reshape(len(x), 2 * dimension)
            encoder.keep(units, no_bias, 0, activations, latent_ids)

        return _encode(batches, dimension, kept, activate)

    return encode


def worker_sae(folder: Path) -> SparseAutoencoder:
    """Load an SAE, once a worker process."""
    return _worker_sae(folder, weights_digest(folder))


@lru_cache(maxsize=KEPT_DICTIONARIES)
def _worker_sae(folder: Path, digest: str) -> SparseAutoencoder:
    """Load the weights once a worker process; the digest is part of the key because a folder may be written anew."""
    return load_sae(folder)


def _encode(
    batches: Iterable[pa.RecordBatch], dimension: int, k: int, activate: Activate, measure: Measure | None = None
) -> Iterator[pa.RecordBatch]:
    torch.set_num_threads(1)  # Spark runs one task a core already
    for batch in batches:
        x = _matrix(batch.column("representation"), dimension)
        activations, latent_ids = np.zeros((len(x), k), np.float32), np.zeros((len(x), k), np.int32)
        activate(x, activations, latent_ids)
        active = activations > 0
        offsets = np.zeros(len(x) + 1, dtype=np.int32)
        np.cumsum(active.sum(1), out=offsets[1:])
        columns = {
            "user_id": batch.column("user_id"),
            "latent_ids": pa.ListArray.from_arrays(offsets, pa.array(latent_ids[active])),
            "activations": pa.ListArray.from_arrays(offsets, pa.array(activations[active])),
        }
        if measure is not None:
            measured = measure(x, activations, latent_ids)
            columns |= {name: pa.array(v, from_pandas=True) for name, v in zip(MEASURED_COLUMNS, measured, strict=True)}
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


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
