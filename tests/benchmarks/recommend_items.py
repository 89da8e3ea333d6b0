"""Top 20 of 100 thousand items for every user: Spark against the bare matrix product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsae_lib.config import SasrecSettings
from recsae_lib.recommenders.recommend import recommend
from recsae_lib.recommenders.sasrec import Sasrec
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import load_recommender, save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.spark_session import open_session
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians

USERS, ITEMS, DIMENSION, TOP_N, SEEN, BLOCK_USERS = 80_000, 100_000, 64, 20, 50, 64
REPETITIONS = 5
CONDITIONS = (
    f"{USERS:,} users with {SEEN} seen items each, {ITEMS:,} items, d={DIMENSION}, top {TOP_N}, SASRec; Spark on "
    "local[2], warm: Parquet in, transformer, scores, mask, exact top 20, item ids, Parquet out; the peer is the "
    f"product of {BLOCK_USERS} representations with all item vectors alone, in as many threads"
)


def measure(work: Path) -> list[Figure]:
    model_folder, histories = work / "model", work / "histories"
    write_model(model_folder)
    write_histories(histories)
    spark = open_session("bench", Path("conf/spark/local.conf"), {})

    def run() -> None:
        rows = recommend(spark.read.parquet(str(histories)), model_folder, TOP_N, 20, BLOCK_USERS)
        rows.write.mode("overwrite").parquet(str(work / "recommendations"))

    torch.set_num_threads(2)
    items = load_recommender(model_folder).item_embeddings()
    x = torch.randn(BLOCK_USERS, DIMENSION)
    scores = torch.empty(BLOCK_USERS, ITEMS)

    def bare() -> None:
        for _ in range(USERS // BLOCK_USERS):
            torch.mm(x, items.T, out=scores)

    run()
    with Usage() as usage:
        seconds = medians(interleaved_seconds({"spark": run, "bare": bare}, REPETITIONS))
    spark.stop()
    ours, peer = USERS / seconds["spark"], USERS / seconds["bare"]
    return [
        Figure("recommend_items", ours, "rows/s", "matrix product alone", ours / peer),
        Figure("matrix product alone", peer, "rows/s"),
        Figure("peak memory", usage.gib, "GiB", conditions="driver, JVM, Python workers"),
    ]


def write_model(folder: Path) -> None:
    """Write a SASRec with random weights, once."""
    if (folder / "recommender.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder, "item", [pa.array([f"item-{n:06d}" for n in range(ITEMS)])])
    torch.manual_seed(2026)
    save_recommender(Sasrec(ITEMS, DIMENSION, SasrecSettings()), Split(), folder)


def write_histories(folder: Path) -> None:
    """Write histories as `model_inputs` gives them, in four files, once; the same seed gives the same files."""
    if (folder / "part-3.parquet").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2026)
    for part in range(4):
        users = USERS // 4
        seen = random.integers(0, ITEMS, users * SEEN).astype(np.int32)
        offsets = np.arange(0, users * SEEN + 1, SEEN, dtype=np.int32)
        columns = {
            "user_id": [f"user-{part}-{n:06d}" for n in range(users)],
            "user_index": pa.nulls(users, pa.int32()),
            "item_indices": pa.ListArray.from_arrays(offsets, pa.array(seen)),
            "train_end": pa.array(np.full(users, SEEN - 2, np.int32)),
            "test_start": pa.array(np.full(users, SEEN - 1, np.int32)),
        }
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet", row_group_size=users)
