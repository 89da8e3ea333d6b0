"""A recommender inside a Python worker of Spark."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsae_lib.platform.spark.shipping import ShippedFolder
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.store import load_recommender


@lru_cache(maxsize=1)
def worker_recommender(shipped: ShippedFolder, factory: str | None = None) -> Recommender:
    """Load the recommender, once a worker process; torch then computes with one thread, as Spark plans for a task."""
    torch.set_num_threads(1)
    return load_recommender(Path(shipped), factory)


@lru_cache(maxsize=1)
def worker_item_ids(shipped: ShippedFolder) -> pa.StringArray:
    """Load the id of each item index of the model, once a worker process."""
    vocabulary = pq.read_table(Path(shipped) / "items.parquet", columns=["item_id", "item_index"])
    return vocabulary.sort_by("item_index").column("item_id").combine_chunks()
