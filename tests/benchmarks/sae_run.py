"""A whole training of the sparse autoencoder from Parquet, against its steps alone on data in memory."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from recsae_lib.config import SaeSettings
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.loop import SAMPLE_ROWS, train_saes
from recsae_lib.sae.training.one_sae import SaeChoice
from recsae_lib.sae.training.state import TrainingState
from tests.benchmarks.harness import Figure
from tests.benchmarks.synthetic import write_representations

ROWS, DIMENSION, NUM_LATENTS, K, BATCH, EPOCHS = 2_000_000, 64, 1024, 16, 4096, 5
BUDGETS_MIB = {"kept": 1024, "streamed": 128}  # the set has 488 MiB
THREADS, REPETITIONS, SEED = 2, 5, 2026
CONDITIONS = (
    f"{ROWS:,} rows, d={DIMENSION}, M={NUM_LATENTS}, k={K}, batch {BATCH:,}, {EPOCHS} epochs, {THREADS} threads, each "
    "run in a process of its own, in turn; a run is the loader (footers, pass 0 that measures, every epoch) and "
    "train_saes, without MLflow; the steps alone get the same rows as scaled batches in memory; seconds are those "
    "after the imports, and memory is the largest resident size of the process"
)
SETTINGS = SaeSettings(k=K, expansion_factor=NUM_LATENTS // DIMENSION, batch_size=BATCH, epochs=EPOCHS, patience=EPOCHS)


def measure(work: Path) -> list[Figure]:
    folder = work / "representations"
    write_representations(folder, ROWS, DIMENSION)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("steps", *BUDGETS_MIB)}
    for _ in range(REPETITIONS):
        for name, measured in runs.items():
            measured.append(_in_a_process(name, folder))
    found = {
        name: {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        for name, measured in runs.items()
    }
    speed = {name: EPOCHS * ROWS / values["seconds"] for name, values in found.items()}
    figures = [Figure("steps alone", speed["steps"], "rows/s")]
    for name, budget in BUDGETS_MIB.items():
        conditions = f"budget {budget} MiB"
        cpu_share = found["steps"]["cpu_seconds"] / found[name]["cpu_seconds"]
        limit = (budget + 1024) / 1024
        peak = max(run["gib"] for run in runs[name])
        figures += [
            Figure(f"run, {name}", speed[name], "rows/s", "steps alone", speed[name] / speed["steps"], conditions),
            Figure(
                f"run, {name}: processor time",
                found[name]["cpu_seconds"],
                "s",
                "steps alone, over this",
                cpu_share,
                conditions,
            ),
            Figure(f"run, {name}: memory", peak, "GiB", "budget + 1 GiB", peak / limit, conditions),
        ]
    return figures


def whole_run(folder: Path, budget_mib: int) -> None:
    loader = RepresentationLoader(folder, BATCH, SEED, budget_mib=budget_mib)
    train_saes(loader.iterate, loader.dimension, [SaeChoice(SETTINGS, SEED)], "cpu", lambda *_: None)


def steps_alone(folder: Path) -> Callable[[], None]:
    """Return what takes all steps; the rows are read before."""
    rows = torch.cat(list(RepresentationLoader(folder, BATCH, SEED).iterate(1)))
    rows /= rows.std()
    sae = SparseAutoencoder.initialise(rows[:SAMPLE_ROWS], NUM_LATENTS, K, SEED)
    state = TrainingState(sae, SETTINGS, len(rows), steps=10_000)

    def run() -> None:
        for _ in range(EPOCHS):
            for batch in rows.split(BATCH):
                state.step(batch, total_variance=float(DIMENSION))

    return run


def _in_a_process(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.sae_run", name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    print(name, {key: round(value, 2) for key, value in measured.items()}, flush=True)
    return measured


def _run_here(name: str, folder: Path) -> dict[str, float]:
    torch.set_num_threads(THREADS)
    run = steps_alone(folder) if name == "steps" else lambda: whole_run(folder, BUDGETS_MIB[name])
    cpu_started, started = time.process_time(), time.perf_counter()
    run()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "gib": gib}


if __name__ == "__main__":
    print(json.dumps(_run_here(sys.argv[1], Path(sys.argv[2]))))
