"""What an SAE learns from the same rows: ours and its variants against sparsify and dictionary_learning."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from recsae_lib.config import SaeSettings, load_settings
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments
from recsae_lib.sae.training.loop import train_saes
from recsae_lib.sae.training.one_sae import SaeChoice
from tests.benchmarks.harness import Figure
from tests.benchmarks.sae_peers import DictionaryLearning, Sparsify, install

ATOMS, ACTIVE, NOISE, DIMENSION, ROWS, TEST_ROWS, EPOCHS, BATCH = 512, 8, 0.05, 128, 100_000, 20_000, 10, 1024
LAWS = ("equal chances", "Zipf's law", "1 to 15 active")
VARIANTS = ("top_k", "batch_top_k", "matryoshka")
SEEDS = (1, 2, 3)
REAL, REAL_EPOCHS, REAL_EXPANSION, K = "MovieLens-100K", 50, 16, 8
CONDITIONS = (
    f"planted: {ATOMS} unit atoms in d={DIMENSION}, {ACTIVE} active a row (or 1 to 15) with strengths of 0.5 to "
    f"1.5, of equal chance or by Zipf's law, noise {NOISE}, M={ATOMS}, k={ACTIVE}, {EPOCHS} passes over {ROWS:,} rows, "
    f"batch {BATCH:,}, measured on {TEST_ROWS:,} others; real: SASRec representations of MovieLens-100K, d=64, "
    f"M={64 * REAL_EXPANSION}, k={K}, {REAL_EPOCHS} passes, batches of a hundredth of the rows; all rows of unit "
    "variance a dimension, the same batches for all, dead after a pass, no early end; ours with its defaults, the "
    "peers with Adam and α = 1/32, each at their default rate, 2e-4/√(M/2¹⁴), and at four times that; medians of "
    f"seeds {', '.join(map(str, SEEDS))}"
)

Reconstructed = tuple[torch.Tensor, torch.Tensor, float]  # x̂, ids that fired, how many activations


class Learned(NamedTuple):
    """What one SAE came to.

    Parameters
    ----------
    dead : share of latents that never fire.
    cosine : mean over the atoms of the best cosine; None where there are no atoms.
    active : latents a row.
    quarter_fvu : see `quarter_fvu`; None of peers.
    """

    fvu: float
    dead: float
    cosine: float | None
    active: float
    quarter_fvu: float | None


def measure(work: Path) -> list[Figure]:
    peers = work.parent / "sae_peers"
    install(peers)
    real = work / "real.pt"
    torch.save(real_rows(work), real)
    names = [*(f"planted, {law}" for law in LAWS), REAL]
    # One process and one thread a seed: of two threads on matrices of this size, one would wait for the other.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), begin, (peers,)) as pool:
        running = {name: [pool.submit(learn, name, real, seed) for seed in SEEDS] for name in names}
        return [figure for name, seeds in running.items() for figure in middle(name, [one.result() for one in seeds])]


def begin(peers: Path) -> None:
    """What a process does first."""
    torch.set_num_threads(1)
    install(peers)


def learn(name: str, real: Path, seed: int) -> dict[str, Learned]:
    """Train all on the same batches of one kind of rows, and measure them."""
    if name == REAL:
        rows = torch.load(real, weights_only=True)
        learned = compare(rows, rows, K, 64 * REAL_EXPANSION, REAL_EPOCHS, len(rows) // 100, None, seed)
    else:
        atoms, make = planted(name.removeprefix("planted, "))
        learned = compare(make(ROWS, 1), make(TEST_ROWS, 2), ACTIVE, ATOMS, EPOCHS, BATCH, atoms, seed)
    print(f"  {name}, seed {seed}: {', '.join(f'{who} FVU {one.fvu:.4f}' for who, one in learned.items())}", flush=True)
    return learned


def planted(law: str) -> tuple[torch.Tensor, Callable[[int, int], torch.Tensor]]:
    """Return the atoms, and what draws (n, d) rows of them."""
    atoms = F.normalize(torch.randn(ATOMS, DIMENSION, generator=torch.Generator().manual_seed(0)))
    weights = 1 / torch.arange(10, ATOMS + 10) if law == "Zipf's law" else torch.ones(ATOMS)

    def make(rows: int, seed: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        # The largest of exponential clocks' inverses: a draw without replacement by weight.
        most = 2 * ACTIVE - 1 if law == "1 to 15 active" else ACTIVE
        chosen = (weights / torch.empty(rows, ATOMS).exponential_(generator=random)).topk(most).indices
        strengths = torch.rand(rows, most, generator=random) + 0.5
        if most > ACTIVE:
            strengths *= torch.arange(most) < torch.randint(1, most + 1, (rows, 1), generator=random)
        x = F.embedding_bag(chosen, atoms, per_sample_weights=strengths, mode="sum")
        return x + NOISE * torch.randn(rows, DIMENSION, generator=random)

    return atoms, make


def real_rows(work: Path) -> torch.Tensor:
    """Return the training representations of SASRec on MovieLens-100K, made by the jobs, once."""
    overrides = [f"paths.var={work}/var", f"paths.bulk={work}/var/bulk", f"paths.artifacts={work}/var/mlflow/artifacts"]
    overrides.append(f"paths.tracking_uri=sqlite:///{work}/var/mlflow/mlflow.db")
    common = ["--conf", "conf/local.yaml", "--dt", "2026-11-20", *(x for o in overrides for x in ("--set", o))]
    finished = work / "_extracted"
    if not finished.exists():
        for job in ("ingest_dataset", "train_recommender", "extract_representations"):
            subprocess.run([sys.executable, "-m", "recsae_lib.cli", "run", job, *common], check=True)
        finished.touch()
    settings = load_settings(Path("conf/base.yaml"), Path("conf/local.yaml"), overrides)
    (folder,) = Path(settings.paths.bulk).glob(
        "representations/model=*/version=*/site=last/rows=training/dt=2026-11-20"
    )
    return torch.cat(list(RepresentationLoader(folder, None, seed=0).iterate(0)))


def compare(
    train: torch.Tensor,
    test: torch.Tensor,
    k: int,
    num_latents: int,
    epochs: int,
    batch: int,
    atoms: torch.Tensor | None,
    seed: int,
) -> dict[str, Learned]:
    """Train all on the same batches and measure them on `test`."""
    scale = (train - train.mean(0)).square().mean().sqrt()
    train, test = train / scale, test / scale

    def batches(epoch: int) -> Iterator[torch.Tensor]:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch))
        return (train[ids] for ids in order.split(batch))

    dimension = train.shape[1]
    shared = {"k": k, "expansion_factor": num_latents // dimension, "batch_size": batch}
    choices = [
        SaeChoice(SaeSettings(**shared, epochs=epochs, patience=epochs, variant=variant), seed) for variant in VARIANTS
    ]
    came_to: dict[str, Learned] = {}
    trained = train_saes(batches, dimension, choices, "cpu", lambda *_: None)
    for choice, one in zip(choices, trained, strict=True):

        def ours(x: torch.Tensor, sae: SparseAutoencoder = one.sae) -> Reconstructed:
            with torch.no_grad():
                x_hat, activations, latent_ids = sae.reconstruct(x)
            return x_hat, latent_ids[activations > 0].unique(), float((activations > 0).sum())

        figures = measured(ours, one.sae.W_dec.detach(), test, atoms)
        came_to[f"recsae {choice.settings.variant}"] = Learned(*figures, quarter_fvu(one.sae, test))
    steps = epochs * -(-len(train) // batch)
    common = (dimension, num_latents, k, seed, len(train))
    peers: dict[str, Sparsify | DictionaryLearning] = {}
    for times in (1, 4):
        peers[f"sparsify, rate x {times}"] = Sparsify(*common, times)
        peers[f"dictionary_learning, rate x {times}"] = DictionaryLearning(*common, times, steps)
    for peer_name, peer in peers.items():
        for epoch in range(1, epochs + 1):
            for x in batches(epoch):
                peer.step(x)

        def theirs(x: torch.Tensor, peer: Sparsify | DictionaryLearning = peer) -> Reconstructed:
            return (*peer.reconstruct(x), float(k * len(x)))

        came_to[peer_name] = Learned(*measured(theirs, peer.directions(), test, atoms), None)
    return came_to


def middle(name: str, seeds: list[dict[str, Learned]]) -> list[Figure]:
    """Medians over the seeds; the best peer is the one with the least FVU."""

    def median(who: str, what: str) -> float:
        return statistics.median(getattr(learned[who], what) for learned in seeds)

    best_peer = min((who for who in seeds[0] if not who.startswith("recsae")), key=lambda who: median(who, "fvu"))
    figures = []
    for who, one in seeds[0].items():
        is_ours = who.startswith("recsae")
        peer, ratio = (best_peer, median(who, "fvu") / median(best_peer, "fvu")) if is_ours else ("", None)
        figures.append(Figure(f"{name}: {who}, FVU", median(who, "fvu"), "", peer, ratio))
        figures.append(Figure(f"{name}: {who}, dead", median(who, "dead"), ""))
        figures.append(Figure(f"{name}: {who}, active a row", median(who, "active"), ""))
        if one.cosine is not None:
            figures.append(Figure(f"{name}: {who}, best cosines", median(who, "cosine"), ""))
        if one.quarter_fvu is not None:
            figures.append(Figure(f"{name}: {who}, FVU of a quarter of the latents", median(who, "quarter_fvu"), ""))
    return figures


@torch.no_grad()
def quarter_fvu(sae: SparseAutoencoder, test: torch.Tensor) -> float:
    """FVU when a quarter of the latents reconstruct: the first, or those that fire most, whichever is less."""
    _, activations, latent_ids = sae.reconstruct(test)
    total = (test - test.mean(0)).square().sum()
    by_density = torch.bincount(latent_ids[activations > 0], minlength=sae.num_latents).argsort(descending=True)
    fvus = []
    for chosen in (torch.arange(sae.num_latents), by_density):
        inside = torch.zeros(sae.num_latents, dtype=torch.bool)
        inside[chosen[: sae.num_latents // 4]] = True
        x_hat = sae.decode(activations * inside[latent_ids], latent_ids)
        fvus.append(float((test - x_hat).square().sum() / total))
    return min(fvus)


def measured(
    reconstruct: Callable[[torch.Tensor], Reconstructed],
    directions: torch.Tensor,
    test: torch.Tensor,
    atoms: torch.Tensor | None,
) -> tuple[float, float, float | None, float]:
    """The first four of `Learned`."""
    moments, squared, active = RunningMoments(test.shape[1]), 0.0, 0.0
    fired = torch.zeros(len(directions), dtype=torch.bool)
    for x in test.split(4096):
        x_hat, ids, count = reconstruct(x)
        squared += float((x - x_hat).double().square().sum())
        fired[ids] = True
        active += count
        moments.add(x)
    cosine = None if atoms is None else float((atoms @ F.normalize(directions).T).max(1).values.mean())
    return squared / moments.squared_deviations, 1 - float(fired.double().mean()), cosine, active / len(test)
