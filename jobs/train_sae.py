"""Train the sparse autoencoder on the representations of this date and register it, alias candidate, with replicas and
baselines beside it.

spark-submit --properties-file conf/spark/local.conf jobs/train_sae.py --dt 2026-11-20
recsae run train_sae --dt 2026-11-20
torchrun --standalone --nproc-per-node 4 jobs/train_sae.py --dt 2026-11-20        (data-parallel)

It opens no Spark session and runs wherever the bulk folder and MLflow can be reached, on CUDA where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from recsae_lib.config.sae import SaeVariation
from recsae_lib.platform.compute.checkpoint import CheckpointFile
from recsae_lib.platform.compute.device import resolve_device
from recsae_lib.platform.compute.stop_signals import stop_at_signals
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.tracking import sae_runs
from recsae_lib.platform.tracking.sae_sweeps import like_version, tag_contenders
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.held_out import read_held_out
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.representations.row_groups import RowGroups
from recsae_lib.sae.baselines import compared_with
from recsae_lib.sae.evaluation import evaluate_sae, fvu_of_rows
from recsae_lib.sae.fidelity import measure_fidelity
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.reach import bounded_sample
from recsae_lib.sae.training.grid import automatic_grid, effective_rank
from recsae_lib.sae.training.loop import OnEpoch, TrainedSae, train_saes
from recsae_lib.sae.training.ranks import ALONE, Ranks
from recsae_lib.sae.training.sweep import SweepResult, best_of, choices_of, with_replicas

CHECKPOINT_SECONDS = 60.0
EXAMPLE_ROWS = 3


@for_each_site
def run(context: JobContext) -> None:
    """Train, measure reconstruction and fidelity, register weights, comparisons and metrics together."""
    device = resolve_device(context.settings.device)
    ranks = Ranks.join(device)
    loader = _loader(context, ranks, device)
    parent, start = sae_runs.warm_start(context)
    replicas = context.settings.sae.replicas
    entries = _grid(context, device, parent) if context.settings.sae.sweep == "auto" else ()
    chosen = [replace(choice, start=start) for choice in choices_of(context.settings, entries)]
    choices = with_replicas(chosen, replicas)
    parameters = sae_runs.training_parameters(context, loader.parameters(), device, ranks.world_size)
    if entries:
        parameters["sweep"] = [entry.model_dump(exclude_none=True) for entry in entries]
    file = context.work_folder() / "checkpoint.safetensors"
    checkpoint = CheckpointFile(file, sae_runs.training_identity(parameters), CHECKPOINT_SECONDS)

    def train(on_epoch: OnEpoch) -> list[TrainedSae]:
        with stop_at_signals() as stop:
            return train_saes(loader.iterate, loader.dimension, choices, device, on_epoch, checkpoint, stop, ranks)

    if ranks.rank > 0:  # the first process measures and registers
        train(lambda *_: None)
        return
    fidelity_of = _fidelity_measure(context)
    origin = sae_runs.lineage(parameters["data_digest"], parent)
    results, versions = [], []
    with sae_runs.open_runs(context, choices, parameters) as runs:
        trained = train(runs.log_epochs(lambda sae: fidelity_of("dev", sae).get(sae_runs.KEPT)))
        rows = loader if ranks.world_size == 1 else _loader(context, ALONE, device)
        example = next(rows.iterate(0))[:EXAMPLE_ROWS].cpu().numpy()
        sample = bounded_sample(rows.iterate(0), rows.dimension)
        measure = _figures_measure(fidelity_of, sample)
        for place in range(0, len(choices), 1 + replicas):
            choice, (one, *others) = choices[place], trained[place : place + 1 + replicas]
            measured, fidelity = evaluate_sae(one.sae, rows.iterate(0)), fidelity_of("test", one.sae)
            kept = fidelity_of("dev", one.sae).get(sae_runs.KEPT)
            results.append(SweepResult(choice, measured.fvu_within_reach, measured.dead_fraction, measured.l0, kept))
            beside = compared_with([other.sae for other in others], one.initial, sample, choice.seed)
            made = choice, one, measured, fidelity, example, origin, beside, measure
            versions.append(sae_runs.register(context, runs.each[place], *made))
        best = best_of(results, context.settings.checks)
        runs.log_sweep(results, versions, best)
    if context.settings.sae.sweep == "auto":
        tag_contenders(context, versions, results)
    context.registry.set_alias(context.sae_name, "candidate", versions[best])
    log.info("train_sae: candidate is version %s (%s)", versions[best], sae_runs.choice_name(chosen[best]))


def _grid(context: JobContext, device: str, champion: int | None) -> list[SaeVariation]:
    """Entries of an automatic sweep; what goes on from the champion is one SAE, as that was trained."""
    rows = _loader(context, ALONE, device)
    if champion is not None:
        return [like_version(context, champion, rows.dimension)]
    users = sum(RowGroups(RepresentationSet.of_context(context, "last").require()).rows)
    rank = effective_rank(bounded_sample(rows.iterate(0), rows.dimension))
    entries = automatic_grid(users, rows.dimension, rank)
    log.info("train_sae: %s users, effective rank %.1f of %s: %s SAEs", users, rank, rows.dimension, len(entries))
    return entries


def _loader(context: JobContext, ranks: Ranks, device: str) -> RepresentationLoader:
    sae = context.settings.sae
    return RepresentationLoader(
        RepresentationSet.of_context(context, "training").require(),
        sae.batch_size,
        context.settings.seed,
        sae.loader_workers,
        shard=(ranks.rank, ranks.world_size),
        budget_mib=sae.data_budget_mib,
        device=device,
    )


def _fidelity_measure(context: JobContext) -> Callable[[RowKind, SparseAutoencoder], dict[str, float]]:
    """Return what measures an SAE on held-out users; it gives nothing where nobody is held out at this site."""
    kinds: tuple[RowKind, ...] = ("dev", "test")
    held_out = {rows: RepresentationSet.of_context(context, rows) for rows in kinds}
    if not all(users.exists() for users in held_out.values()):
        log.info("train_sae: no held-out users at site %s: what reconstruction keeps is not measured", context.site)
        return lambda rows, sae: {}
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    recommender = load_recommender(folder, context.settings.recommender.factory)
    block_users = context.settings.recommendations.block_users
    return lambda rows, sae: measure_fidelity(
        sae, recommender, read_held_out(held_out[rows].path, block_users)
    ).by_name()


def _figures_measure(
    fidelity_of: Callable[[RowKind, SparseAutoencoder], dict[str, float]], sample: torch.Tensor
) -> Callable[[SparseAutoencoder], dict[str, float]]:
    """Return what measures a dictionary: FVU of the sample, and the test NDCG kept where somebody is held out."""

    def measure(sae: SparseAutoencoder) -> dict[str, float]:
        kept = {name: value for name, value in fidelity_of("test", sae).items() if name == sae_runs.KEPT}
        return {"fvu": fvu_of_rows(sae, sample), **kept}

    return measure


if __name__ == "__main__":
    main(__file__)
