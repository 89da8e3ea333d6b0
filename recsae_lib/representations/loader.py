"""Reading of representations for training: Petastorm over Parquet, shuffled by a seed, without Spark."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from petastorm.pytorch import BatchedDataLoader
from petastorm.reader import Reader, make_batch_reader

from recsae_lib.errors import InputError

# Petastorm 0.12 and its reader threads use pyarrow's legacy data set, which announces its removal; pyarrow is pinned.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.")

COLUMN = "representation"
MEMORY_BYTES = 2**30  # a set that fits is read once and shuffled in memory
SHUFFLE_BYTES = 2**26  # of rows among which a larger set is shuffled, beside its row groups


class RepresentationLoader:
    """The (batch, d) float32 batches of a folder of representations, shuffled anew in every epoch.

    A set of up to `MEMORY_BYTES` is streamed once and kept; of a larger one each epoch is streamed: row groups in
    random order, through a buffer of `SHUFFLE_BYTES`. The order follows from seed, epoch and rows alone for a set that
    is kept, however the rows are spread over files; for a larger one from the files as well, and with one worker only.

    Parameters
    ----------
    folder : path or URL of Parquet files with a column representation (list<float>), e.g. ``…/rows=training/dt=…``.
    batch_size : rows a batch; the last one of an epoch may have fewer.
    seed : decides the order of every epoch.
    workers : reader threads; more than one and the order changes from run to run.

    Attributes
    ----------
    rows : rows of the folder, from the Parquet footers.
    dimension : d, from the first row.

    Raises
    ------
    InputError : the folder is missing or empty, a file is damaged or lacks the column, or (while iterating) a
        representation has not d values.
    """

    def __init__(self, folder: str | Path, batch_size: int, seed: int, workers: int = 1) -> None:
        self.folder, self.batch_size, self.seed, self.workers = str(folder), batch_size, seed, workers
        url = self.folder if "://" in self.folder else f"file://{Path(self.folder).absolute()}"
        self._filesystem, root = fsspec.core.url_to_fs(url)
        self._files, self.rows = self._read_footers(root)
        self.dimension = self._first_dimension()
        self._kept: torch.Tensor | None = None

    def iterate(self, epoch: int) -> Iterator[torch.Tensor]:
        """Yield each row of the folder exactly once, in (batch, d) batches."""
        if self.rows * self.dimension * 4 > MEMORY_BYTES:
            yield from self._stream(epoch, shuffle_rows=max(SHUFFLE_BYTES // (4 * self.dimension), self.batch_size))
            return
        if self._kept is None:
            rows = torch.cat(list(self._stream(0, shuffle_rows=0)))
            self._kept = rows[np.argsort(_hashes(rows), kind="stable")]
        order = torch.randperm(self.rows, generator=_generator(self.seed, epoch))
        for ids in order.split(self.batch_size):
            yield self._kept.index_select(0, ids)

    def digest(self) -> str:
        """Identify the rows of the folder, whatever their order: SHA-256 (first 16 hex digits) of their number and of
        the sum of a 64-bit hash of each.
        """
        total = sum(int(_hashes(batch).sum(dtype=np.uint64)) for batch in self.iterate(0)) % 2**64
        return hashlib.sha256(f"{self.rows} {self.dimension} {total}".encode()).hexdigest()[:16]

    def _stream(self, epoch: int, shuffle_rows: int) -> Iterator[torch.Tensor]:
        with self._reader(epoch, shuffle_row_groups=shuffle_rows > 0) as reader:
            loader = BatchedDataLoader(reader, batch_size=self.batch_size, shuffling_queue_capacity=shuffle_rows)
            batches = iter(loader)
            random_state = _generator(self.seed, epoch).get_state()
            while True:
                # Petastorm's buffer draws from torch's global generator: lend it one that nobody else moves.
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(random_state)
                    batch = self._next(batches)
                    random_state = torch.get_rng_state()
                if batch is None:
                    return
                yield batch

    def _next(self, batches: Iterator[dict[str, torch.Tensor]]) -> torch.Tensor | None:
        try:
            batch = next(batches, None)
        except (RuntimeError, ValueError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
            # What Petastorm and its buffer raise for ragged, null and damaged columns has no type of its own.
            raise self._refused(
                f"a row group cannot be read as vectors of {self.dimension} floats ({error})"
            ) from error
        if batch is None:
            return None
        rows = batch[COLUMN]
        if rows.ndim != 2 or rows.shape[1] != self.dimension or rows.dtype != torch.float32:
            raise self._refused(f"a representation is not of {self.dimension} float32 values as the first one is")
        return rows

    def _reader(self, epoch: int, shuffle_row_groups: bool) -> Reader:
        return make_batch_reader(
            # Files and not the folder: of a folder Petastorm would unpickle a schema out of _common_metadata.
            self._files,
            schema_fields=[COLUMN],
            reader_pool_type="thread",
            workers_count=self.workers,
            shuffle_row_groups=shuffle_row_groups,
            seed=(self.seed + epoch) % 2**32,
        )

    def _read_footers(self, root: str) -> tuple[list[str], int]:
        paths = sorted(path for path in self._filesystem.find(root) if path.endswith(".parquet"))
        files, rows = [], 0
        for path in paths:
            try:
                with self._filesystem.open(path) as file:
                    parquet = pq.ParquetFile(file)
                    schema, file_rows = parquet.schema_arrow, parquet.metadata.num_rows
            except (OSError, pa.ArrowException) as error:
                raise self._refused(f"{path} is no intact Parquet file ({error})") from error
            field = schema.field(COLUMN) if COLUMN in schema.names else None
            if field is None or not pa.types.is_list(field.type) or not pa.types.is_float32(field.type.value_type):
                raise self._refused(f"{path} has no column {COLUMN} of type list<float>")
            if file_rows:
                files.append(self._filesystem.unstrip_protocol(path))
                rows += file_rows
        if rows == 0:
            raise self._refused("there are no rows")
        return files, rows

    def _first_dimension(self) -> int:
        with self._filesystem.open(self._files[0]) as file:
            try:
                first = next(pq.ParquetFile(file).iter_batches(batch_size=1, columns=[COLUMN]))
            except (OSError, pa.ArrowException) as error:
                raise self._refused(f"{self._files[0]} is no intact Parquet file ({error})") from error
        vector = first.column(0)[0].as_py()
        if not vector:
            raise self._refused("the first representation is empty")
        return len(vector)

    def _refused(self, cause: str) -> InputError:
        return InputError(f"{self.folder} cannot be trained on: {cause}", "Extract the representations again")


def _generator(seed: int, epoch: int) -> torch.Generator:
    words = np.random.SeedSequence([seed, epoch]).generate_state(1, dtype=np.uint64)
    return torch.Generator().manual_seed(int(words[0]) >> 1)


def _hashes(rows: torch.Tensor) -> np.ndarray:
    """Hash each of (n, d) float32 rows to a uint64, by its bits."""
    weights = np.random.default_rng(0).integers(0, 2**64, rows.shape[1], dtype=np.uint64) | np.uint64(1)
    hashed = rows.numpy().view(np.uint32).astype(np.uint64) @ weights
    # The product alone is linear: in a sum over rows, two that swap a value would cancel each other.
    hashed = (hashed ^ (hashed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(hashed ^ (hashed >> np.uint64(29)))
