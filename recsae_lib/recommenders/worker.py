"""A recommender inside a Python worker of Spark."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import torch

from recsae_lib.platform.spark.shipping import ShippedFolder
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.vocabulary import item_ids_of


@lru_cache(maxsize=1)
def worker_recommender(shipped: ShippedFolder, factory: str | None = None) -> Recommender:
    """Load the recommender, once a worker process; torch then computes with one thread, as Spark plans for a task."""
    torch.set_num_threads(1)
    return load_recommender(Path(shipped), factory)


@lru_cache(maxsize=1)
def worker_item_ids(shipped: ShippedFolder) -> pa.StringArray:
    """Load the id of each item index of the model, once a worker process."""
    return item_ids_of(Path(shipped))
