"""Top 20 of 100 thousand items for every user: Spark against the bare matrix product."""

from __future__ import annotations

from pathlib import Path

import torch

from recsae_lib.config import SasrecSettings
from recsae_lib.platform.spark.session import open_session
from recsae_lib.recommenders.recommend import recommend
from recsae_lib.recommenders.store import load_recommender
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians
from tests.benchmarks.synthetic import write_histories, write_sasrec

USERS, ITEMS, DIMENSION, TOP_N, SEEN, BLOCK_USERS = 80_000, 100_000, 64, 20, 50, 64
REPETITIONS = 5
CONDITIONS = (
    f"{USERS:,} users with {SEEN} seen items each, {ITEMS:,} items, d={DIMENSION}, top {TOP_N}, SASRec; Spark on "
    "local[2], warm: Parquet in, transformer, scores, mask, exact top 20, item ids, Parquet out; the peer is the "
    f"product of {BLOCK_USERS} representations with all item vectors alone, in as many threads"
)


def measure(work: Path) -> list[Figure]:
    model_folder, histories = work / "model", work / "histories"
    write_sasrec(model_folder, ITEMS, DIMENSION, SasrecSettings())
    write_histories(histories, USERS, ITEMS, SEEN, parts=4)
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
