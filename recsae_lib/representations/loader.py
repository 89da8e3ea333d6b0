"""Loading of representations for training: batches shuffled by a seed, from memory where the set fits a budget."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from recsae_lib.errors import InputError
from recsae_lib.platform.compute.compiled import compiled
from recsae_lib.representations.row_groups import RowGroups

DEFAULT_WORKERS = 2  # one fetches or decodes while the other waits for its turn
BATCH_ROWS = 64, 1024  # least and most of a batch whose size is not given
SHUFFLE_BYTES = 2**26  # of rows among which a streamed set is shuffled, beside its row groups
DEVICE_SHARE = 0.5  # of a GPU's free memory that kept rows may take; the rest is for training


class RepresentationLoader:
    """The (batch, d) float32 batches of a folder of representations, shuffled anew in every epoch.

    Rows that fit the budget are read once and kept: their order follows from seed, epoch and rows alone, however they
    are spread over files. Of more rows each epoch is streamed: row groups in random order through a buffer of
    `SHUFFLE_BYTES`, of which one half leaves in random order whenever it is full. That order follows from the files and
    the budget as well. Petastorm's threads read row groups while the caller works on earlier ones. No generator but
    the loader's own is drawn from.

    Parameters
    ----------
    folder : path or URL of Parquet files with a column representation (list<float>), e.g. ``…/rows=training/dt=…``.
    batch_size : rows a batch; the last one of an epoch may have fewer. None: a hundredth of the rows, `BATCH_ROWS`.
    seed : decides the order of every epoch.
    workers : reader threads, which change no order; 2, or 1 where there is one row group, if None.
    shard : (rank, world size) of data-parallel training: each process reads row groups of its own, the same in every
        epoch.
    budget_mib : MiB of rows that this process may keep.
    device : where batches go: on a GPU with room for them, rows that are kept are kept there, in the same order.

    Attributes
    ----------
    rows : rows that this process reads.
    shard_rows : rows that each of the processes reads.
    total_rows : rows of the folder.
    dimension : d
    batch_size : rows a batch.

    Raises
    ------
    InputError : the folder is missing or empty, a file is damaged or lacks the column, or (while iterating) a
        representation has not d values; fewer row groups than processes, or than reader threads of this one.
    """

    def __init__(
        self,
        folder: str | Path,
        batch_size: int | None,
        seed: int,
        workers: int | None = None,
        shard: tuple[int, int] = (0, 1),
        budget_mib: float = 1024,
        device: str = "cpu",
    ) -> None:
        self.folder, self.seed, self.shard = str(folder), seed, shard
        self._row_groups = RowGroups(self.folder)
        self.dimension = self._row_groups.dimension
        self.workers = self._require_row_groups(workers)
        rank, shards = shard
        self.shard_rows = tuple(sum(self._row_groups.rows[number::shards]) for number in range(shards))
        self.rows, self.total_rows = self.shard_rows[rank], sum(self.shard_rows)
        least, most = BATCH_ROWS
        self.batch_size = batch_size or min(max(self.rows // 100, least), most)
        self._budget = int(budget_mib * 2**20)
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        self._device = device
        self._kept_on_device: torch.Tensor | None = None

    @property
    def fits(self) -> bool:
        """Whether the rows of this process fit the budget, so that they are read once."""
        return self.rows * self.dimension * 4 <= self._budget

    def iterate(self, epoch: int) -> Iterator[torch.Tensor]:
        """Yield each row of this process exactly once, in (batch, d) batches."""
        if not self.fits:
            return map(torch.from_numpy, self._streamed(epoch))
        rows, by_hash = self._rows_and_order()
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self._seed(epoch) >> 1)).numpy()
        order = by_hash[drawn]
        if self._device.startswith("cuda") and (kept := self._on_device(rows)) is not None:
            places = torch.from_numpy(order).to(self._device)
            return (kept[part] for part in places.split(self.batch_size))
        parts = (order[begin : begin + self.batch_size] for begin in range(0, len(order), self.batch_size))
        return (torch.from_numpy(rows.take(part, axis=0)) for part in parts)

    def parameters(self) -> dict[str, object]:
        """Return what a training logs of its rows: their place, number and digest, d, and the rows a batch."""
        return {
            "batch_size": self.batch_size,
            "dimension": self.dimension,
            "data_folder": self.folder,
            "data_rows": self.total_rows,
            "data_digest": self.digest(),
        }

    def digest(self) -> str:
        """Identify the rows of the folder, of all processes and whatever their order: SHA-256 (first 16 hex digits) of
        their number and of the sum of a 64-bit hash of each.
        """
        matrices: Iterable[np.ndarray] = self._row_groups.read(self.workers)
        if self.fits and self.rows == self.total_rows:
            matrices = [self._rows_and_order()[0]]
        total = sum(int(_hashes(matrix).sum(dtype=np.uint64)) for matrix in matrices) % 2**64
        return hashlib.sha256(f"{self.total_rows} {self.dimension} {total}".encode()).hexdigest()[:16]

    def _rows_and_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the (rows, d) rows of this process as they lie in its files, and their places by rising hash."""
        if self._kept is None:
            rows = np.empty((self.rows, self.dimension), dtype=np.float32)
            begin = 0
            for matrix in self._row_groups.read(self.workers, self.shard):
                rows[begin : begin + len(matrix)] = matrix
                begin += len(matrix)
            self._kept = rows, np.argsort(_hashes(rows), kind="stable")
        return self._kept

    def _on_device(self, rows: np.ndarray) -> torch.Tensor | None:
        """Return the rows in the memory of the GPU; None where they would take more than `DEVICE_SHARE` of it."""
        if self._kept_on_device is None and rows.nbytes <= DEVICE_SHARE * torch.cuda.mem_get_info(self._device)[0]:
            self._kept_on_device = torch.from_numpy(rows).to(self._device)
        return self._kept_on_device

    def _streamed(self, epoch: int) -> Iterator[np.ndarray]:
        seed = self._seed(epoch)
        capacity = max(min(SHUFFLE_BYTES, self._budget) // (4 * self.dimension), 2 * self.batch_size)
        buffer = _ShuffleBuffer(capacity, self.dimension, self.batch_size, np.random.default_rng(seed))
        for matrix in self._row_groups.read(self.workers, self.shard, order=seed % 2**32):
            yield from buffer.add(matrix)
        yield from buffer.rest()

    def _seed(self, epoch: int) -> int:
        rank, shards = self.shard
        key = (rank,) if shards > 1 else ()
        sequence = np.random.SeedSequence([self.seed, epoch], spawn_key=key)
        return int(sequence.generate_state(1, dtype=np.uint64)[0])

    def _require_row_groups(self, workers: int | None) -> int:
        """Return the number of reader threads, each of which has a row group at least."""
        rank, shards = self.shard
        found = len(self._row_groups.rows)
        if found < shards:
            raise InputError(
                f"{self.folder} has {found} row groups, too few for {shards} training processes",
                f"Start {found} processes at most, or set representations.minimum_row_groups to {shards} or more and "
                "extract the representations again",
            )
        own = len(range(rank, found, shards))
        workers = workers or min(DEFAULT_WORKERS, own)
        if own < workers:
            raise InputError(
                f"{self.folder} has {own} row groups for this training process, too few for {workers} reader threads",
                f"Set sae.loader_workers to {own} at most, or representations.minimum_row_groups to "
                f"{shards * workers} or more and extract the representations again",
            )
        return workers


class _ShuffleBuffer:
    """Rows that wait in (capacity, d) until they are drawn; whenever it is full, one half leaves."""

    def __init__(self, capacity: int, dimension: int, batch_size: int, generator: np.random.Generator) -> None:
        self._rows = np.empty((capacity, dimension), dtype=np.float32)
        self._empty = np.arange(capacity)  # places without a row
        self._batch_size, self._generator = batch_size, generator
        self._leaving = max(capacity // 2 // batch_size, 1) * batch_size

    def add(self, matrix: np.ndarray) -> Iterator[np.ndarray]:
        """Take (n, d) rows in; yield whole batches of those that leave for them."""
        while len(matrix):
            places = self._empty[: len(matrix)]
            _put(self._rows, places, matrix)
            self._empty, matrix = self._empty[len(places) :], matrix[len(places) :]
            if not len(self._empty):
                order = self._generator.permutation(len(self._rows))
                self._empty = order[: self._leaving]
                yield from self._taken(self._empty)

    def rest(self) -> Iterator[np.ndarray]:
        """Yield all that is left."""
        held = np.ones(len(self._rows), dtype=bool)
        held[self._empty] = False
        yield from self._taken(self._generator.permutation(held.nonzero()[0]))

    def _taken(self, places: np.ndarray) -> Iterator[np.ndarray]:
        for begin in range(0, len(places), self._batch_size):
            yield self._rows.take(places[begin : begin + self._batch_size], axis=0)


def _hashes(rows: np.ndarray) -> np.ndarray:
    """Hash each of (n, d) float32 rows to a uint64, by its bits."""
    weights = np.random.default_rng(0).integers(0, 2**64, rows.shape[1], dtype=np.uint64) | np.uint64(1)
    hashed = np.empty(len(rows), dtype=np.uint64)
    _weighted_sums(np.ascontiguousarray(rows).view(np.uint32), weights, hashed)
    # The product alone is linear: in a sum over rows, two that swap a value would cancel each other.
    hashed = (hashed ^ (hashed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(hashed ^ (hashed >> np.uint64(29)))


@compiled
def _put(rows: np.ndarray, places: np.ndarray, given: np.ndarray) -> None:
    """Write the first given (n, d) rows to those places; numpy's assignment takes three times as long."""
    for number in range(len(places)):
        place = places[number]
        for column in range(rows.shape[1]):
            rows[place, column] = given[number, column]


@compiled
def _weighted_sums(bits: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Write bits (n, d) @ weights (d,), modulo 2⁶⁴; numpy's product of integers takes ten times as long."""
    for row in range(bits.shape[0]):
        total = np.uint64(0)
        for column in range(bits.shape[1]):
            total += np.uint64(bits[row, column]) * weights[column]
        out[row] = total
