"""Bulk data: folders of Parquet files that driver and executors share, on any file system that fsspec knows.

A path, ``s3://…``, ``s3a://…`` (as Spark writes it) and what else fsspec has a client for.
"""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq


def parquet_files(folder: str) -> tuple[fsspec.AbstractFileSystem, dict[str, int]]:
    """Return the file system of a folder, and its Parquet files with their bytes, by name.

    Spark numbers the files that it writes in the order of its partitions.
    """
    file_system, root = fsspec.core.url_to_fs(folder)
    file_system.invalidate_cache()  # object stores: an earlier listing in this process may be out of date
    found = file_system.find(root, detail=True)
    return file_system, {path: found[path]["size"] for path in sorted(found) if path.endswith(".parquet")}


def stream_columns(folder: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Stream columns of a folder, file after file."""
    file_system, files = parquet_files(folder)
    for path in files:
        with file_system.open(path) as file:
            yield from pq.ParquetFile(file).iter_batches(columns=names)
