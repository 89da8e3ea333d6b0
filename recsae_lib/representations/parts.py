"""Representations in parts of several files, for tasks that read Parquet themselves."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

PART_BYTES = 2**27  # of the files of a part; what is made of it is a file of a decent size
BATCH_ROWS = 8192
COLUMNS = ["user_id", "representation"]

Part = tuple[str, ...]  # locations of files


def parts_of(folder: str) -> list[Part]:
    """Group the Parquet files of a folder by name, into parts of `PART_BYTES` that no file exceeds alone.

    Parameters
    ----------
    folder : path or address.
    """
    file_system, root = fsspec.core.url_to_fs(folder)
    found = file_system.find(root, detail=True)
    parts: list[list[str]] = []
    room = 0
    for path in sorted(path for path in found if path.endswith(".parquet")):
        room -= found[path]["size"]
        if room < 0 or not parts:
            parts.append([])
            room = PART_BYTES - found[path]["size"]
        parts[-1].append(file_system.unstrip_protocol(path))
    return [tuple(part) for part in parts]


def read_part(part: Part) -> Iterator[pa.RecordBatch]:
    """Read user_id and representation of the files of a part, `BATCH_ROWS` rows at a time."""
    for location in part:
        with fsspec.open(location, "rb") as file:
            yield from pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=COLUMNS, use_threads=False)
