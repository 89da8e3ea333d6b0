"""From interactions to vocabularies and the flat histories that a recommender is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.bulk import parquet_files, stream_columns
from recsae_lib.recommenders.inputs import in_order, with_item_index
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.training_histories import TrainingHistories
from recsae_lib.recommenders.vocabulary import rises, write_vocabulary

COLUMNS = ("user_id", "item_indices", "train_end", "test_start")


def training_folder(bulk: str, model: str, dt: date) -> str:
    """Folder in which Spark leaves the histories that a model of this name is trained on for one date."""
    return f"{bulk.rstrip('/')}/training/model={model}/dt={dt.isoformat()}"


def prepare_training_data(
    interactions: DataFrame, split: Split, model_folder: Path, bulk_folder: str, user_vocabulary: bool
) -> TrainingHistories:
    """Number items (and users) by rising id, and read every user's history, users by rising id.

    Spark sorts and writes Parquet into the bulk folder, which driver and executors share; the driver copies the
    vocabularies from there as a stream and holds only the histories: 4 bytes an interaction and 16 a user.

    Parameters
    ----------
    interactions : (user_id, item_id, ts, source_order, …)
    split : what is held out.
    model_folder : existing folder, where the vocabularies are written.
    bulk_folder : path or address; what stands there is replaced.
    user_vocabulary : whether the model looks users up.

    Raises
    ------
    InputError : there are more items or users than an INT can count.
    """
    items, histories = f"{bulk_folder}/items", f"{bulk_folder}/histories"
    interactions.select("item_id").distinct().orderBy("item_id").write.mode("overwrite").parquet(items)
    item_count = write_vocabulary(model_folder, "item", _column(items, "item_id"))
    rows = with_item_index(interactions, model_folder, split).withColumn("user_index", F.lit(None).cast("int"))
    # Ranges of users, each sorted, are all users sorted.
    ordered = split.ends(in_order(rows.repartitionByRange("user_id"))).select(*COLUMNS)
    ordered.write.mode("overwrite").parquet(histories)
    if user_vocabulary:
        write_vocabulary(model_folder, "user", _column(histories, "user_id"))
    return read_training_histories(histories, item_count)


def read_training_histories(folder: str, item_count: int) -> TrainingHistories:
    """Read Parquet files with `COLUMNS`, users rising across files in the order of their names.

    Raises
    ------
    InputError : a user stands in the wrong place, or an index is none of the vocabulary.
    """
    file_system, paths = parquet_files(folder)
    files = [pq.ParquetFile(file_system.open(path)) for path in paths]
    footers = [parquet.metadata for parquet in files]
    interactions = sum(
        footer.row_group(group).column(1).num_values for footer in footers for group in range(footer.num_row_groups)
    )
    offsets = np.zeros(sum(footer.num_rows for footer in footers) + 1, dtype=np.int64)
    counts = np.empty((2, len(offsets) - 1), dtype=np.int32)
    items = np.empty(interactions, dtype=np.int32)
    users, last = 0, pa.array([], pa.string())
    for parquet in files:
        for batch in parquet.iter_batches(columns=list(COLUMNS)):
            ids, lists, *ends_of_parts = batch.columns
            if not rises(pa.concat_arrays([last, ids])):
                raise InputError(f"The users in {folder} are not sorted", "Run the job train_recommender again")
            ends = offsets[users] + np.cumsum(pc.list_value_length(lists).to_numpy())
            items[offsets[users] : ends[-1]] = lists.flatten().to_numpy()
            offsets[users + 1 : users + 1 + len(ids)] = ends
            counts[:, users : users + len(ids)] = [column.to_numpy() for column in ends_of_parts]
            users, last = users + len(ids), ids.slice(len(ids) - 1)
    if len(items) and not 0 <= items.min() <= items.max() < item_count:
        raise InputError(f"An item in {folder} has no index of the vocabulary", "Run the job train_recommender again")
    return TrainingHistories(offsets, items, item_count, *counts)


def _column(folder: str, name: str) -> Iterator[pa.Array]:
    return (batch.column(0) for batch in stream_columns(folder, [name]))
