"""What 4,096 latents do to a million items and their features: Spark against the bare matrix product."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsae_lib.platform.spark.session import open_session
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import load_recommender, save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.tuning.feature_vectors import feature_vectors
from recsae_lib.tuning.item_vectors import ItemVectors
from recsae_lib.tuning.latent_effects import latent_effects
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians

ITEMS, LATENTS, DIMENSION, GENRES, PERIODS, CARRIED = 1_000_000, 4096, 64, 1000, 20, 3
BARE_LATENTS, PART_ITEMS = 256, 1024  # of one product, that stays in cache: the fastest of those tried
REPETITIONS = 3
CONDITIONS = (
    f"{ITEMS:,} items, {LATENTS:,} latents, d={DIMENSION}, {GENRES} item features of which an item has {CARRIED}, and "
    f"{PERIODS} derived ones; Spark on local[2], warm; the peer is the product of all latents with all item vectors "
    f"alone, {BARE_LATENTS} by {PART_ITEMS} at a time and written nowhere, in two threads"
)


def measure(work: Path) -> list[Figure]:
    write_world(work)
    spark = open_session("bench", Path("conf/spark/local.conf"), {})
    items, live = spark.read.parquet(str(work / "items.parquet")), spark.range(LATENTS).selectExpr("int(id) latent_id")
    vectors = ItemVectors.of_model(work / "model", None, items)
    feature_vectors(items, vectors, 5)
    started = time.perf_counter()
    found = feature_vectors(items, vectors, 5)
    means = time.perf_counter() - started

    def effects() -> None:
        rows = latent_effects(live, work / "sae", vectors, found)
        rows.write.mode("overwrite").parquet(str(work / "effects"))

    torch.set_num_threads(1)
    catalogue = load_recommender(work / "model").item_embeddings()
    latents = torch.randn(LATENTS, DIMENSION)

    def product(block: torch.Tensor) -> None:
        scores = torch.empty(BARE_LATENTS * PART_ITEMS)
        for part in catalogue.split(PART_ITEMS):
            torch.mm(block, part.T, out=scores[: len(block) * len(part)].view(len(block), -1))

    def bare() -> None:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(product, latents.split(BARE_LATENTS)))

    effects()
    with Usage() as usage:
        seconds = medians(interleaved_seconds({"effects": effects, "bare": bare}, REPETITIONS))
    spark.stop()
    peer = seconds["bare"]
    return [
        Figure("latent_effects", seconds["effects"], "s", "matrix product alone", seconds["effects"] / peer),
        Figure("mean vectors of features", means, "s", conditions="once, right after a first time"),
        Figure("matrix product alone", peer, "s"),
        Figure("peak memory", usage.gib, "GiB", conditions="driver, JVM, Python workers"),
    ]


def write_world(work: Path) -> None:
    """Write items, a recommender that knows them, and a dictionary."""
    if (work / "items.parquet").exists():
        return
    random = np.random.default_rng(2026)
    names = pa.array([f"item-{n:07d}" for n in range(ITEMS)])
    model = BprMf(1, ITEMS, DIMENSION)
    with torch.no_grad():
        model.items.weight.copy_(torch.from_numpy(random.standard_normal((ITEMS, DIMENSION), dtype=np.float32)))
    (work / "model").mkdir(parents=True, exist_ok=True)
    write_vocabulary(work / "model", "item", [names])
    write_vocabulary(work / "model", "user", [pa.array(["user"])])
    save_recommender(model, Split(), work / "model")
    rows = torch.from_numpy(random.standard_normal((LATENTS, DIMENSION), dtype=np.float32))
    rows = torch.nn.functional.normalize(rows)
    save_sae(SparseAutoencoder(rows.clone(), torch.zeros(LATENTS), rows, torch.zeros(DIMENSION), 8), work / "sae", {})
    genres = pa.array([f"genre {n}" for n in range(GENRES)]).take(pa.array(random.integers(0, GENRES, ITEMS * CARRIED)))
    periods = pa.array([f"period: {n}" for n in range(PERIODS)]).take(pa.array(random.integers(0, PERIODS, ITEMS)))
    columns = {
        "item_id": names,
        "features": pa.ListArray.from_arrays(np.arange(0, ITEMS * CARRIED + 1, CARRIED, dtype=np.int32), genres),
        "derived_features": pa.ListArray.from_arrays(np.arange(ITEMS + 1, dtype=np.int32), periods),
    }
    pq.write_table(pa.table(columns), work / "items.parquet", row_group_size=ITEMS // 8)
