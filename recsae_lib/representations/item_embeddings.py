"""The item vectors that representations are held against, written beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.worker import worker_item_ids, worker_recommender

EMBEDDING_COLUMNS = "item_id string, embedding array<float>"


def item_embeddings(spark: SparkSession, model_folder: Path, factory: str | None = None) -> DataFrame:
    """Return the vector of every item that the model knows: `EMBEDDING_COLUMNS`, one row an item; none
    where the model has no item vectors.

    Parameters
    ----------
    model_folder : folder of `recommenders.store`.
    factory : as `load_recommender`.
    """
    items = len(load_recommender(model_folder, factory).item_embeddings())
    shipped = ship_folder(spark, model_folder)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        vectors = worker_recommender(shipped, factory).item_embeddings().detach().numpy()
        item_ids = worker_item_ids(shipped)
        for batch in batches:
            indices = batch.column(0).to_numpy()
            offsets = np.arange(0, len(indices) * vectors.shape[1] + 1, vectors.shape[1], dtype=np.int32)
            embeddings = pa.ListArray.from_arrays(offsets, pa.array(vectors[indices].reshape(-1)))
            yield pa.RecordBatch.from_arrays(
                [item_ids.take(batch.column(0)), embeddings], names=["item_id", "embedding"]
            )

    return spark.range(items).mapInArrow(run, EMBEDDING_COLUMNS)
