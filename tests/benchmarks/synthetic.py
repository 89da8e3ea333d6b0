"""Models and histories that several benchmarks read; written once, the same files whenever they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsae_lib.config import SasrecSettings
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary

SEED = 2026


def write_sasrec(folder: Path, items: int, dimension: int, settings: SasrecSettings) -> None:
    """Write a SASRec with random weights."""
    if (folder / "recommender.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder, "item", [pa.array([f"item-{n:06d}" for n in range(items)])])
    torch.manual_seed(SEED)
    save_recommender(Sasrec(items, dimension, settings), Split(), folder)


def write_histories(folder: Path, users: int, items: int, length: int, parts: int) -> None:
    """Write histories of `length` items as `model_inputs` gives them, in as many files as `parts`."""
    if (folder / "_finished").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    count = users // parts
    for part in range(parts):
        indices = random.integers(0, items, count * length).astype(np.int32)
        offsets = np.arange(0, count * length + 1, length, dtype=np.int32)
        columns = {
            "user_id": [f"user-{part}-{n:06d}" for n in range(count)],
            "user_index": pa.nulls(count, pa.int32()),
            "item_indices": pa.ListArray.from_arrays(offsets, pa.array(indices)),
            "train_end": pa.array(np.full(count, length - 2, np.int32)),
            "test_start": pa.array(np.full(count, length - 1, np.int32)),
        }
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet")
    (folder / "_finished").touch()


def write_representations(folder: Path, rows: int, dimension: int) -> None:
    """Write normally distributed representations as `write_sets` does: files of one row group, 16 MiB at most."""
    if (folder / "_finished").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    parts = -(-rows * dimension * 4 // 2**24)
    for part in range(parts):
        count = rows * (part + 1) // parts - rows * part // parts
        x = np.random.default_rng([SEED, part]).standard_normal(count * dimension, dtype=np.float32)
        columns = {
            "user_id": [f"user-{part:03d}-{n:06d}" for n in range(count)],
            "representation": pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32) * dimension, pa.array(x)),
        }
        pq.write_table(
            pa.table(columns), folder / f"part-{part:03d}.parquet", row_group_size=count, use_dictionary=False
        )
    (folder / "_finished").touch()
