"""Vocabularies: which index an item or a user has in a model. Parquet files in the model's folder, ids rising."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.shipping import ship_folder

VocabularyKind = Literal["item", "user"]
FILES: dict[VocabularyKind, str] = {"item": "items.parquet", "user": "users.parquet"}
ROW_GROUP = 2**18  # rows; also what a task of Spark reads
MOST_ROWS = 2**31 - 1  # an index is an INT


def write_vocabulary(folder: Path, kind: VocabularyKind, ids: Iterable[pa.Array]) -> int:
    """Write (item_id, item_index) or (user_id, user_index), streamed: index 0 is the first of the rising `ids`.

    The same ids give the same bytes, however they are cut into arrays.

    Returns
    -------
    int : rows.

    Raises
    ------
    InputError : there are more ids than an INT can count.
    """
    schema = _schema(kind)
    rows = 0
    with pq.ParquetWriter(folder / FILES[kind], schema, use_dictionary=False) as writer:
        for group in _regrouped(ids):
            if rows + len(group) > MOST_ROWS:
                raise InputError(f"There are more than {MOST_ROWS:,} {kind}s", f"Ingest fewer {kind}s")
            indices = pa.array(np.arange(rows, rows + len(group), dtype=np.int32))
            writer.write_table(pa.Table.from_arrays([group, indices], schema=schema))
            rows += len(group)
    return rows


def check_vocabulary(folder: Path, kind: VocabularyKind, rows: int) -> None:
    """Read the vocabulary of a folder once, streamed.

    Raises
    ------
    InputError : it cannot be read, has other columns or another number of rows, or its ids do not rise, or its
        indices do not run from 0.
    """
    path = folder / FILES[kind]
    seen, last = 0, pa.array([], pa.string())
    try:
        with pq.ParquetFile(path) as parquet:
            if parquet.schema_arrow.names != _schema(kind).names or parquet.schema_arrow.types != _schema(kind).types:
                raise _refused(path, f"its columns are {parquet.schema_arrow.names}, or of other types than written")
            for batch in parquet.iter_batches():
                ids, indices = batch.columns
                if ids.null_count or indices.null_count:
                    raise _refused(path, "it holds nulls")
                if not np.array_equal(indices.to_numpy(), np.arange(seen, seen + len(indices))):
                    raise _refused(path, "its indices do not run from 0")
                if not rises(pa.concat_arrays([last, ids])):
                    raise _refused(path, "its ids do not rise")
                seen, last = seen + len(ids), ids.slice(max(len(ids) - 1, 0))
    except (OSError, pa.ArrowException) as error:
        raise _refused(path, f"it is no intact Parquet file ({error})") from None
    if seen != rows:
        raise _refused(path, f"it has {seen} rows, the model knows {rows} {kind}s")


def item_ids_of(folder: Path) -> pa.StringArray:
    """Load the id of each item index of the model in a folder, (n,), rising."""
    vocabulary = pq.read_table(folder / FILES["item"], columns=["item_id", "item_index"])
    return vocabulary.sort_by("item_index").column("item_id").combine_chunks()


def read_vocabulary(spark: SparkSession, folder: Path, kind: VocabularyKind) -> DataFrame:
    """Return (item_id STRING, item_index INT) or (user_id STRING, user_index INT), read by the executors.

    The folder is shipped to them: it lies on the driver, and they share no file system with it.
    """
    try:
        row_groups = pq.read_metadata(folder / FILES[kind]).num_row_groups
    except (OSError, pa.ArrowException) as error:
        raise _refused(folder / FILES[kind], f"it is no intact Parquet file ({error})") from None
    shipped = ship_folder(spark, folder)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(Path(shipped) / FILES[kind]) as parquet:
            for batch in batches:
                yield from parquet.iter_batches(row_groups=batch.column(0).to_pylist())

    groups = spark.range(0, row_groups, numPartitions=max(row_groups, 1))
    return groups.mapInArrow(read, f"{kind}_id string, {kind}_index int")


def rises(ids: pa.Array) -> bool:
    """Whether each id comes after the one before it, by the order of their bytes in UTF-8 (Spark's order)."""
    return bool(pc.all(pc.less(ids.slice(0, max(len(ids) - 1, 0)), ids.slice(1)), min_count=0).as_py())


def _regrouped(arrays: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """Cut a stream of arrays anew into arrays of `ROW_GROUP` values."""
    pending: list[pa.Array] = []
    held = 0
    for array in arrays:
        pending.append(array)
        held += len(array)
        while held >= ROW_GROUP:
            joined = pa.concat_arrays(pending)
            yield joined.slice(0, ROW_GROUP)
            pending, held = [joined.slice(ROW_GROUP)], held - ROW_GROUP
    if held:
        yield pa.concat_arrays(pending)


def _schema(kind: VocabularyKind) -> pa.Schema:
    return pa.schema([(f"{kind}_id", pa.string()), (f"{kind}_index", pa.int32())])


def _refused(path: Path, cause: str) -> InputError:
    return InputError(f"The vocabulary {path} is damaged: {cause}", "Fetch or train the recommender again")
