"""Taking the rows of one user out of the representations of a model."""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsae_lib.platform.storage.bulk import parquet_files

ID_COLUMNS = ("user_id", "id")  # the second of rows that were refused: of users, or of items with the same name


def rows_in_bulk(bulk: str, model: str, user: str) -> dict[str, int]:
    """Files of all representations of a model with rows of a user, and how many; hidden folders of writers as well."""
    file_system, files = parquet_files(f"{bulk.rstrip('/')}/representations/model={model}")
    return {path: rows for path in files if (rows := _rows_in(file_system, path, user))}


def remove_from_bulk(bulk: str, model: str, user: str) -> int:
    """Write each such file anew without these rows, in the same row groups; returns how many rows went.

    A reader sees the old file or the new one. One with no other rows is removed.
    """
    file_system, _ = fsspec.core.url_to_fs(bulk)
    found = rows_in_bulk(bulk, model, user)
    for path in found:
        _rewrite(file_system, path, user)
    return sum(found.values())


def _rewrite(file_system: fsspec.AbstractFileSystem, path: str, user: str) -> None:
    folder, _, name = path.rpartition("/")
    unfinished, checksum, rows = f"{folder}/.{name}.unfinished", f"{folder}/.{name}.crc", 0
    with file_system.open(path) as file, pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
        with (
            file_system.open(unfinished, "wb") as target,
            pq.ParquetWriter(target, schema, use_dictionary=False) as writer,
        ):
            for group in range(parquet.num_row_groups):
                kept = parquet.read_row_group(group)
                kept = kept.filter(pc.invert(_is_of(kept, user)))
                if kept.num_rows:
                    writer.write_table(kept, row_group_size=kept.num_rows)
                rows += kept.num_rows
    if file_system.exists(checksum):  # Hadoop believes it more than the file
        file_system.rm(checksum)
    if rows:
        file_system.mv(unfinished, path)
    else:
        file_system.rm(path)
        file_system.rm(unfinished)


def _rows_in(file_system: fsspec.AbstractFileSystem, path: str, user: str) -> int:
    with file_system.open(path) as file, pq.ParquetFile(file) as parquet:
        columns = [name for name in ID_COLUMNS if name in parquet.schema_arrow.names]
        if not columns:
            return 0
        batches = parquet.iter_batches(columns=columns)
        return sum(int(pc.sum(_is_of(batch, user), min_count=0).as_py() or 0) for batch in batches)


def _is_of(rows: pa.Table | pa.RecordBatch, user: str) -> pa.Array:
    name = next(name for name in ID_COLUMNS if name in rows.schema.names)
    return pc.fill_null(pc.equal(rows.column(name), user), False)
