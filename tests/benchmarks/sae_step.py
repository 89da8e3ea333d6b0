"""A training step of the sparse autoencoder with AuxK active, against sparsify and dictionary_learning."""

from __future__ import annotations

from pathlib import Path

import torch

from recsae_lib.config import SaeSettings
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.state import TrainingState
from tests.benchmarks.harness import Figure, interleaved_seconds, medians
from tests.benchmarks.sae_peers import ALPHA, DictionaryLearning, Sparsify, install

SIZES = ((64, 1024), (64, 4096), (256, 4096), (1024, 8192))
K, BATCH, DEAD_SHARE = 16, 4096, 0.1
REPETITIONS = 7
CONDITIONS = (
    f"k={K}, batch {BATCH:,}, float32, a tenth of the latents held dead and k_aux = d/2; Adam (fused for ours "
    "and sparsify), no parallel gradients, unit norms; data in memory, 1 and 2 threads; the limit is the time "
    "of 2dM + 8kd floating-point operations a row at the speed of a large torch product in the same run"
)


def measure(work: Path) -> list[Figure]:
    install(work.parent / "sae_peers")
    figures = []
    for dimension, num_latents in SIZES:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            figures += _one_size(dimension, num_latents, threads)
    return figures


def _one_size(dimension: int, num_latents: int, threads: int) -> list[Figure]:
    x = torch.randn(BATCH, dimension, generator=torch.Generator().manual_seed(1))
    dead = torch.zeros(num_latents, dtype=torch.bool)
    dead[torch.arange(0, num_latents, int(1 / DEAD_SHARE))] = True
    settings = SaeSettings(k=K, batch_size=BATCH, auxiliary_coefficient=ALPHA, learning_rate=1e-4)
    state = TrainingState(SparseAutoencoder.initialise(x, num_latents, K, seed=0), settings, rows=BATCH, steps=1000)

    def ours() -> None:
        state.rows_since_fired[dead] = state.dead_after_rows
        state.step(x, total_variance=float(dimension))

    sparsify = Sparsify(dimension, num_latents, K, 0, BATCH)
    dictionary_learning = DictionaryLearning(dimension, num_latents, K, 0, BATCH)

    def of_sparsify() -> None:
        sparsify.rows_since_fired[dead] = BATCH
        sparsify.step(x)

    def of_dictionary_learning() -> None:
        dictionary_learning.trainer.num_tokens_since_fired[dead] = BATCH
        dictionary_learning.step(x)

    steps = {"recsae": ours, "sparsify": of_sparsify, "dictionary_learning": of_dictionary_learning}
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    for step in steps.values():
        step()
    seconds = medians(interleaved_seconds({**steps, "product": lambda: left @ right}, REPETITIONS))
    rate = 2 * 2048**3 / seconds["product"]
    limit = rate / (2 * dimension * num_latents + 8 * K * dimension)
    speed = {name: BATCH / seconds[name] for name in steps}
    name = f"d={dimension}, M={num_latents}, {threads} thread{'s' * (threads > 1)}"
    return [
        Figure(f"{name}: step", speed["recsae"], "rows/s", "sparsify", speed["recsae"] / speed["sparsify"]),
        Figure(
            f"{name}: step",
            speed["recsae"],
            "rows/s",
            "dictionary_learning",
            speed["recsae"] / speed["dictionary_learning"],
        ),
        Figure(f"{name}: step", speed["recsae"], "rows/s", "arithmetic limit", speed["recsae"] / limit),
        Figure(f"{name}: sparsify", speed["sparsify"], "rows/s"),
        Figure(f"{name}: dictionary_learning", speed["dictionary_learning"], "rows/s"),
    ]
