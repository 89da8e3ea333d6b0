"""A recommender inside a Python worker of Spark."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.shipping import ShippedFolder


@lru_cache(maxsize=1)
def worker_recommender(shipped: ShippedFolder) -> Recommender:
    """Load the recommender, once a worker process; torch then computes with one thread, as Spark plans for a task."""
    torch.set_num_threads(1)
    return load_recommender(Path(shipped))
