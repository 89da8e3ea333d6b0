"""Lists under four tunings for every user, in one pass: Spark against four runs of recommend_items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from recsae_lib.config import SasrecSettings
from recsae_lib.platform.spark.session import open_session
from recsae_lib.recommenders.recommend import recommend
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.tuning.moves import Mode, Move, ResolvedTuning
from recsae_lib.tuning.tuned_lists import tune
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians
from tests.benchmarks.synthetic import SEED, write_histories, write_sasrec

SIZE = 50_000  # users; 1 million take 20 times as long, in the same memory: users come in blocks
ITEMS, DIMENSION, TOP_N, SEEN, BLOCK_USERS = 100_000, 64, 20, 50, 64
LATENTS, K, TUNINGS = 1024, 8, 4
REPETITIONS = 3
CONDITIONS = (
    f"{SIZE:,} users with {SEEN} seen items each, {ITEMS:,} items, d={DIMENSION}, top {TOP_N}, SASRec, an SAE of "
    f"{LATENTS:,} latents, k={K}, {TUNINGS} tunings; Spark on local[2], warm, Parquet in and out; the peer is "
    f"{TUNINGS} times recommend_items"
)


def measure(work: Path) -> list[Figure]:
    model_folder, sae_folder, histories = work / "model", work / "sae", work / f"histories-{SIZE}"
    write_sasrec(model_folder, ITEMS, DIMENSION, SasrecSettings())
    write_histories(histories, SIZE, ITEMS, SEEN, parts=4)
    write_sae(sae_folder)
    spark = open_session("bench", Path("conf/spark/local.conf"), {})

    def untuned() -> None:
        rows = recommend(spark.read.parquet(str(histories)), model_folder, TOP_N, 20, BLOCK_USERS)
        rows.write.mode("overwrite").parquet(str(work / "recommendations"))

    def tuned(*modes: Mode) -> None:
        tunings = [tuning(number, mode) for number, mode in enumerate(modes)]
        users = spark.read.parquet(str(histories))
        rows = tune(users, model_folder, sae_folder, tunings, "last", TOP_N, BLOCK_USERS)
        rows.write.mode("overwrite").parquet(str(work / "tuned"))

    actions: dict[str, Callable[[], object]] = {
        "recommend_items": untuned,
        "add": lambda: tuned("add", "add", "add", "add"),
        "both": lambda: tuned("add", "multiply", "add", "multiply"),
    }
    untuned()
    tuned("add")
    with Usage() as usage_untuned:
        untuned()
    with Usage() as usage:
        seconds = medians(interleaved_seconds(actions, REPETITIONS))
    spark.stop()
    four = TUNINGS * seconds["recommend_items"]
    return [
        Figure("4 tunings of all users (add)", SIZE / seconds["add"], "users/s", "four runs", four / seconds["add"]),
        Figure(
            "2 of all users, 2 of those who fire",
            SIZE / seconds["both"],
            "users/s",
            "four runs",
            four / seconds["both"],
        ),
        Figure("four runs of recommend_items", SIZE / four, "users/s"),
        Figure("peak memory", usage.gib, "GiB", "recommend_items", usage.gib / usage_untuned.gib),
    ]


def tuning(number: int, mode: Mode) -> ResolvedTuning:
    latents = np.arange(3) + 10 * number
    return ResolvedTuning(f"tuning-{number}", Move(mode, latents, np.ones(3)), 0.0 if mode == "multiply" else 0.5)


def write_sae(folder: Path) -> None:
    """Write a dictionary as it is before training."""
    if not (folder / "sae.json").exists():
        sample = torch.randn(1000, DIMENSION, generator=torch.Generator().manual_seed(SEED))
        save_sae(SparseAutoencoder.initialise(sample, LATENTS, K, SEED), folder, {})
