"""Representations in parts of several files, for tasks that read Parquet themselves."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from recsae_lib.platform.storage.bulk import parquet_files

PART_BYTES = 2**27  # of the files of a part, at most about; what is made of it is a file of a decent size
BATCH_ROWS = 8192
COLUMNS = ["user_id", "representation"]

Part = tuple[str, ...]  # locations of files


def parts_of(folder: str, at_once: int) -> list[Part]:
    """Group the Parquet files of a folder by name, into parts of at most about `PART_BYTES`.

    A larger file is a part alone. Parts are of about the same size, and so many that those who work at them end at
    about the same time.

    Parameters
    ----------
    folder : path or address.
    at_once : parts that are worked at together; their number is a multiple of it where there are files enough.
    """
    file_system, files = parquet_files(folder)
    total = sum(files.values())
    count = at_once * -(-total // (PART_BYTES * at_once))
    parts: list[list[str]] = [[] for _ in range(count)]
    before = 0
    for path, size in files.items():
        middle = before + size / 2
        parts[int(count * middle / total)].append(file_system.unstrip_protocol(path))
        before += size
    return [tuple(part) for part in parts if part]


def read_part(part: Part) -> Iterator[pa.RecordBatch]:
    """Read user_id and representation of the files of a part, `BATCH_ROWS` rows at a time."""
    for location in part:
        with fsspec.open(location, "rb") as file:
            yield from pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=COLUMNS, use_threads=False)
