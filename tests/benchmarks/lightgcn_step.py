"""LightGCN on a large graph: 1 million users, 200 thousand items, 30 million edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from recsae_lib.config import LightgcnSettings
from recsae_lib.recommenders.families.lightgcn import LightGcnObjective
from recsae_lib.recommenders.training_histories import TrainingHistories
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians

USERS, ITEMS, EDGES, DIMENSION, LAYERS = 1_000_000, 200_000, 30_000_000, 64, 3
BATCH = 2**20
REPETITIONS = 3
CONDITIONS = (
    f"{USERS:,} users, {ITEMS:,} items, {EDGES:,} interactions (density of the item's rank r: 1/√r), d={DIMENSION}, "
    f"{LAYERS} layers, batch {BATCH:,}; a step is negatives, propagation, loss, backward and Adam; an epoch has "
    f"{-(-EDGES // BATCH)} steps; the peer is the sparse products of a step alone"
)


def measure(work: Path) -> list[Figure]:
    del work  # nothing is kept
    random = np.random.default_rng(2026)
    with Usage() as usage:
        train = synthetic(random)
        torch.manual_seed(2026)
        settings = LightgcnSettings(layers=LAYERS, batch_size=BATCH)
        objective = LightGcnObjective(train, DIMENSION, settings, torch.device("cpu"))
        batches = objective.batches(random)

        def step() -> None:
            batch = next(batches)
            objective.optimiser.zero_grad()
            objective.loss(batch).backward()
            objective.optimiser.step()

        step()  # Adam lays out its moments

    def bare() -> None:
        with torch.no_grad():
            for _ in range(2 * LAYERS):  # forward and backward
                objective.graph.of_users @ objective.network.items
                objective.graph.of_items @ objective.network.users

    seconds = medians(interleaved_seconds({"step": step, "bare": bare}, REPETITIONS))
    return [
        Figure("peak memory", usage.gib, "GiB", conditions="making the data, the graph and a step"),
        Figure("step", seconds["step"], "s", "sparse products alone", seconds["step"] / seconds["bare"]),
        Figure("sparse products alone", seconds["bare"], "s"),
        Figure("epoch, by its steps", seconds["step"] * -(-EDGES // BATCH), "s"),
    ]


def synthetic(random: np.random.Generator) -> TrainingHistories:
    """Draw histories of equal expected length; popular items more often."""
    lengths = random.multinomial(EDGES, np.full(USERS, 1 / USERS)).astype(np.int32)
    items = (ITEMS * random.random(EDGES, dtype=np.float32) ** 2).astype(np.int32)
    return TrainingHistories(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), items, ITEMS, lengths, lengths)
