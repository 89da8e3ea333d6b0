"""Row groups of a folder of representations as matrices, read ahead by Petastorm's threads, without Spark."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from threading import Condition
from types import SimpleNamespace
from typing import Any

import numpy as np
import petastorm.reader
import pyarrow as pa
import pyarrow.parquet as pq
from petastorm.arrow_reader_worker import ArrowReaderWorker, ArrowReaderWorkerResultsQueueReader
from petastorm.workers_pool import EmptyResultError, VentilatedItemProcessedMessage
from petastorm.workers_pool.thread_pool import ThreadPool, WorkerTerminationRequested

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.bulk import parquet_files

# Petastorm 0.12 and its reader threads use pyarrow's legacy data set, which announces its removal; pyarrow is pinned.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.")
# It needs that one, whose pieces it splits, and does not say so: with a file system of fsspec, such as that of s3://,
# pyarrow takes the other. Only the name in Petastorm's module changes; pyarrow stays as it is for everybody else.
petastorm.reader.pq = SimpleNamespace(ParquetDataset=partial(pq.ParquetDataset, use_legacy_dataset=True))

COLUMN = "representation"
FOOTER_THREADS = 16  # an object store answers many requests at once, each slowly


class RowGroups:
    """The row groups of a folder of Parquet files with a column representation (list<float>).

    Parameters
    ----------
    folder : path, or URL of any file system that fsspec knows.

    Attributes
    ----------
    rows : rows of each row group, by file name and place in the file.
    dimension : d, from the first row.

    Raises
    ------
    InputError : the folder is missing or empty, a file is damaged or lacks the column.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        url = folder if "://" in folder else f"file://{Path(folder).absolute()}"
        self._filesystem, paths = parquet_files(url)
        with ThreadPoolExecutor(FOOTER_THREADS) as pool:
            found = zip(paths, pool.map(self._read_footer, paths), strict=True)
            filled = {path: rows for path, rows in found if sum(rows)}
        if not filled:
            raise self.refused("there are no rows")
        self._files = list(filled)
        self.rows = tuple(rows for of_file in filled.values() for rows in of_file)
        self.dimension = self._first_dimension()

    def read(self, workers: int = 1, shard: tuple[int, int] = (0, 1), order: int | None = None) -> Iterator[np.ndarray]:
        """Yield the (rows, d) float32 matrix of each row group of a shard; `workers` + 2 of them are read ahead.

        Parameters
        ----------
        workers : reader threads; their number does not change the order.
        shard : (number, count): row groups number, number + count, number + 2·count…
        order : seed of the order of the row groups; that of the files where None.

        Raises
        ------
        InputError : a row group is damaged, or holds what is no vector of d floats.
        """
        number, shards = shard
        # Files and not the folder: of a folder Petastorm would unpickle a schema out of _common_metadata.
        reader = petastorm.reader.Reader(
            self._filesystem,
            self._files,
            schema_fields=[COLUMN],
            worker_class=_MatrixWorker,
            reader_pool=_InTurn(workers),
            is_batched_reader=True,
            shuffle_row_groups=order is not None,
            seed=order,
            cur_shard=number,
            shard_count=shards,
        )
        expected = sum(self.rows[number::shards])
        with reader:
            for matrix in reader:
                if isinstance(matrix, Exception):
                    cause = f"a row group cannot be read as vectors of {self.dimension} floats ({matrix})"
                    raise self.refused(cause) from matrix
                if len(matrix) and matrix.shape[1] != self.dimension:
                    raise self.refused(f"a representation is not of {self.dimension} floats as the first one is")
                expected -= len(matrix)
                if len(matrix):
                    yield matrix
        if expected:
            raise self.refused("its files have changed while they were read")

    def refused(self, cause: str) -> InputError:
        """Return the error that says why this folder is of no use."""
        return InputError(f"{self.folder} cannot be trained on: {cause}", "Extract the representations again")

    def _read_footer(self, path: str) -> list[int]:
        try:
            with self._filesystem.open(path) as file:
                metadata = pq.ParquetFile(file).metadata
                schema = metadata.schema.to_arrow_schema()
        except (OSError, pa.ArrowException) as error:
            raise self.refused(f"{path} is no intact Parquet file ({error})") from error
        field = schema.field(COLUMN) if COLUMN in schema.names else None
        if field is None or not pa.types.is_list(field.type) or not pa.types.is_float32(field.type.value_type):
            raise self.refused(f"{path} has no column {COLUMN} of type list<float>")
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def _first_dimension(self) -> int:
        with self._filesystem.open(self._files[0]) as file:
            try:
                first = next(pq.ParquetFile(file).iter_batches(batch_size=1, columns=[COLUMN]))
            except (OSError, pa.ArrowException) as error:
                raise self.refused(f"{self._files[0]} is no intact Parquet file ({error})") from error
        vector = first.column(0)[0].as_py()
        if not vector:
            raise self.refused("the first representation is empty")
        return len(vector)


class _InTurn(ThreadPool):
    """Petastorm's reader threads, each of which waits with its result until those of earlier row groups are out."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._given, self._turn, self._turned = count(), 0, Condition()

    def ventilate(self, **item: Any) -> None:
        """Give out a row group with its turn."""
        super().ventilate(turn=next(self._given), **item)

    def _stop_aware_put(self, data: Any) -> None:
        if isinstance(data, VentilatedItemProcessedMessage):
            super()._stop_aware_put(data)
            return
        turn, result = data
        with self._turned:
            while turn != self._turn:
                if self._stop_event.is_set():
                    raise WorkerTerminationRequested
                self._turned.wait(0.01)
            super()._stop_aware_put(result)
            self._turn += 1
            self._turned.notify_all()


class _ResultsReader(ArrowReaderWorkerResultsQueueReader):
    """Hands on what `_MatrixWorker` made; Petastorm's own would build an array for every row and stack them."""

    def read_next(self, workers_pool: ThreadPool, schema: object, ngram: object) -> np.ndarray | Exception:
        try:
            result: np.ndarray | Exception = workers_pool.get_results()[0]
        except EmptyResultError:
            raise StopIteration from None
        return result


class _MatrixWorker(ArrowReaderWorker):
    """Reads a row group; what goes wrong is a result, because Petastorm would print it and end its thread."""

    @staticmethod
    def new_results_queue_reader() -> _ResultsReader:
        return _ResultsReader()

    def process(self, turn: int, piece_index: int, **_: Any) -> None:
        piece = self._split_pieces[piece_index]
        result: np.ndarray | Exception
        try:
            with self._filesystem.open(piece.path) as file:
                table = pq.ParquetFile(file).read_row_group(piece.row_group, columns=[COLUMN], use_threads=False)
            result = _as_matrix(table.column(0))
        except Exception as error:
            result = error
        self.publish_func((turn, (result,)))


def _as_matrix(column: pa.ChunkedArray) -> np.ndarray:
    """View list<float> of equal lengths as a (rows, d) float32 matrix, without a copy where it is one chunk."""
    lists = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # pyarrow leaves it one if there is no chunk at all
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], type=column.type)
    values = lists.flatten()
    if lists.null_count or values.null_count:
        raise ValueError("some are null or hold nulls")
    lengths = np.diff(lists.offsets.to_numpy())
    if len(lengths) == 0:
        return np.empty((0, 0), dtype=np.float32)
    if (lengths != lengths[0]).any():
        raise ValueError(f"they hold {lengths.min()} to {lengths.max()} numbers")
    matrix: np.ndarray = values.to_numpy(zero_copy_only=True).reshape(len(lengths), lengths[0])
    return matrix
