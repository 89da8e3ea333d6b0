"""Train the sparse autoencoder on the representations of this date and register it, alias candidate.

spark-submit --properties-file conf/spark/local.conf jobs/train_sae.py --dt 2026-11-20
recsae run train_sae --dt 2026-11-20
torchrun --standalone --nproc-per-node 4 jobs/train_sae.py --dt 2026-11-20        (data-parallel)

It opens no Spark session and runs wherever the bulk folder and MLflow can be reached, on CUDA where there is one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace

from recsae_lib.platform.compute.checkpoint import CheckpointFile
from recsae_lib.platform.compute.device import resolve_device
from recsae_lib.platform.compute.stop_signals import stop_at_signals
from recsae_lib.platform.job.record import code_version
from recsae_lib.platform.job.run import JobContext, for_each_site, log, main
from recsae_lib.platform.tracking.registry import TrainingRun
from recsae_lib.recommenders.evaluation import LIST_LENGTH
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.held_out import read_held_out
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.sae.evaluation import evaluate_sae
from recsae_lib.sae.fidelity import measure_fidelity
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.plots import density_plot, loss_plot, sweep_plot
from recsae_lib.sae.store import load_sae, save_sae, weights_digest
from recsae_lib.sae.training.loop import EpochReport, SaeChoice, TrainedSae, train_saes
from recsae_lib.sae.training.ranks import Ranks
from recsae_lib.sae.training.sweep import SweepResult, best_of, choices_of

SECONDS_BETWEEN_LINES = 5.0  # of progress on the terminal
CHECKPOINT_SECONDS = 60.0
EXAMPLE_ROWS = 3

FidelityOn = Callable[[RowKind, SparseAutoencoder], dict[str, float]]


@for_each_site
def run(context: JobContext) -> None:
    """Train, measure reconstruction and fidelity, register weights and metrics together."""
    settings = context.settings
    device = resolve_device(settings.device)
    ranks = Ranks.join(device)
    loader = _loader(context, ranks, device)
    parent = context.registry.champion(context.sae_name) if settings.sae.start == "champion" else None
    start = _champion(context, parent) if settings.sae.start == "champion" else None
    choices = [replace(choice, start=start) for choice in choices_of(settings)]
    parameters = _parameters(context, loader, device, ranks)
    identity = hashlib.sha256(f"{parameters} {code_version()}".encode()).hexdigest()
    checkpoint = CheckpointFile(context.work_folder() / "checkpoint.safetensors", identity, CHECKPOINT_SECONDS)
    training = (loader.iterate, loader.dimension, choices, device)
    if ranks.rank > 0:
        with stop_at_signals() as stop:
            train_saes(*training, lambda *_: None, checkpoint, stop, ranks)
        return
    fidelity_on = _fidelity_measurer(context)
    lineage = {"code_version": code_version(), "data_digest": str(parameters["data_digest"])}
    if parent is not None:
        lineage["parent_version"] = str(parent)
    with context.registry.training_run(context.sae_name, context.tags, parameters) as mlrun, ExitStack() as nested:
        runs = [mlrun]
        if len(choices) > 1:
            runs = [nested.enter_context(mlrun.nested(*_described(choice))) for choice in choices]
        on_epoch = _teller(runs, choices, fidelity_on)
        with stop_at_signals() as stop:
            trained = train_saes(*training, on_epoch, checkpoint, stop, ranks)
        whole = loader if ranks.world_size == 1 else _loader(context, Ranks(), device)
        ended = [
            _register(context, of_sae, choice, one, whole, fidelity_on, lineage)
            for of_sae, choice, one in zip(runs, choices, trained, strict=True)
        ]
        results, versions = zip(*ended, strict=True)
        best = best_of(results, settings.checks)
        if len(choices) > 1:
            mlrun.log_table("sweep", [{"version": v, **r.row()} for v, r in zip(versions, results, strict=True)])
            mlrun.log_figure("fvu_by_k", sweep_plot(results))
            mlrun.set_tags({"best_version": str(versions[best])})
    context.registry.set_alias(context.sae_name, "candidate", versions[best])
    log.info("train_sae: candidate is version %s (%s)", versions[best], _described(choices[best])[0])


def _register(
    context: JobContext,
    mlrun: TrainingRun,
    choice: SaeChoice,
    trained: TrainedSae,
    loader: RepresentationLoader,
    fidelity_on: FidelityOn,
    lineage: Mapping[str, str],
) -> tuple[SweepResult, int]:
    """Measure one SAE, register it, and return what it came to and its version."""
    reconstruction = evaluate_sae(trained.sae, loader.iterate(0))
    fidelity = fidelity_on("test", trained.sae)
    kept = fidelity_on("dev", trained.sae).get("ndcg@10_kept")
    mlrun.log_metrics(
        {
            "fvu": reconstruction.fvu,
            "l0": reconstruction.l0,
            "dead_fraction": reconstruction.dead_fraction,
            "mean_cosine": reconstruction.mean_cosine,
            "shrinkage": reconstruction.shrinkage,
            "training_rows": reconstruction.rows,
            **fidelity,
        }
    )
    mlrun.log_figure("density", density_plot(reconstruction.densities, reconstruction.rows))
    mlrun.log_figure("loss", loss_plot(trained.reports))
    description = {"model_version": context.model_version, "dt": context.dt.isoformat()}
    folder = context.work_folder() / "sae"
    save_sae(trained.sae, folder, description)
    save_sae(trained.initial, folder / "initial", {**description, "initial": True})
    tags = {
        **{name: str(value) for name, value in description.items()},
        "num_latents": str(trained.sae.num_latents),
        "dimension": str(trained.sae.dimension),
        "k": str(trained.sae.k),
        "variant": choice.settings.variant,
        **lineage,
    }
    example = next(loader.iterate(0))[:EXAMPLE_ROWS].cpu().numpy()
    version = context.registry.register_sae(mlrun, context.sae_name, folder, weights_digest(folder), example, tags)
    log.info(
        "train_sae: version %s: FVU %.4f, L0 %.2f, dead latents %.1f %%, NDCG@10 kept %s",
        version,
        reconstruction.fvu,
        reconstruction.l0,
        100 * reconstruction.dead_fraction,
        _percent(fidelity.get("ndcg@10_kept")),
    )
    result = SweepResult(choice, reconstruction.fvu, reconstruction.dead_fraction, reconstruction.l0, kept)
    return result, version


def _champion(context: JobContext, version: int | None) -> SparseAutoencoder | None:
    """Return the champion, whose version is given, to go on from."""
    if version is None:
        log.info("train_sae: %s has no champion yet: the weights start at random", context.sae_name)
        return None
    read = context.registry.tags(context.sae_name, version).get("model_version")
    if read != str(context.model_version):
        log.warning(
            "train_sae: the champion, version %s, reads recommender version %s, not %s: latents keep their meaning "
            "only if that recommender was trained on from the other",
            version,
            read,
            context.model_version,
        )
    return load_sae(context.registry.fetch(context.sae_name, version))


def _fidelity_measurer(context: JobContext) -> FidelityOn:
    """Return what measures a SAE on held-out users; it gives nothing where nobody is held out at this site."""
    held_out: dict[RowKind, RepresentationSet] = {rows: _set_of(context, rows) for rows in ("dev", "test")}
    if not all(rows.exists() for rows in held_out.values()):
        log.info("train_sae: no held-out users at site %s: what reconstruction keeps is not measured", context.site)
        return lambda rows, sae: {}
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    recommender = load_recommender(folder, context.settings.recommender.factory)

    def measure(rows: RowKind, sae: SparseAutoencoder) -> dict[str, float]:
        users = read_held_out(held_out[rows].path, context.settings.recommendations.block_users)
        fidelity = measure_fidelity(sae, recommender, users)
        return {
            **{f"original_{name}": value for name, value in fidelity.original.items()},
            **{f"reconstructed_{name}": value for name, value in fidelity.reconstructed.items()},
            **{f"{name}_kept": value for name, value in fidelity.kept().items()},
            f"overlap@{LIST_LENGTH}": fidelity.overlap,
        }

    return measure


def _loader(context: JobContext, ranks: Ranks, device: str) -> RepresentationLoader:
    sae = context.settings.sae
    return RepresentationLoader(
        _set_of(context, "training").require(),
        sae.batch_size,
        context.settings.seed,
        sae.loader_workers,
        shard=(ranks.rank, ranks.world_size),
        budget_mib=sae.data_budget_mib,
        device=device,
    )


def _set_of(context: JobContext, rows: RowKind) -> RepresentationSet:
    return RepresentationSet.of(
        context.settings, context.recommender_name, context.model_version, rows, context.dt, context.site
    )


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.1%}"


def _parameters(context: JobContext, loader: RepresentationLoader, device: str, ranks: Ranks) -> dict[str, object]:
    return {
        **context.settings.sae.model_dump(mode="json"),
        "batch_size": loader.batch_size,
        "seed": context.settings.seed,
        "device": device,
        "processes": ranks.world_size,
        "dimension": loader.dimension,
        "data_folder": loader.folder,
        "data_rows": loader.total_rows,
        "data_digest": loader.digest(),
        "recommender": f"{context.recommender_name} {context.model_version}",
    }


def _described(choice: SaeChoice) -> tuple[str, dict[str, object]]:
    """Return a name and the parameters of one of several SAEs."""
    settings = choice.settings
    name = f"{settings.variant}, k = {settings.k}, s = {settings.expansion_factor}, seed {choice.seed}"
    return name, {**settings.model_dump(mode="json"), "seed": choice.seed}


def _teller(
    runs: list[TrainingRun], choices: list[SaeChoice], fidelity_on: FidelityOn
) -> Callable[[int, EpochReport, SparseAutoencoder | None], None]:
    """Return what logs an epoch of one SAE: always to MLflow, now and then to the terminal."""
    last_line = time.monotonic()

    def tell(number: int, report: EpochReport, sae: SparseAutoencoder | None) -> None:
        nonlocal last_line
        kept = None if sae is None else fidelity_on("dev", sae).get("ndcg@10_kept")
        metrics = {"fvu": report.fvu, "auxk": report.auxk, "l0": report.l0, "dead_fraction": report.dead_fraction}
        if kept is not None:
            metrics["dev_ndcg@10_kept"] = kept
        runs[number].log_metrics({f"epoch_{name}": value for name, value in metrics.items()}, step=report.epoch)
        epochs = choices[number].settings.epochs
        if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES or report.epoch in (1, epochs):
            last_line = time.monotonic()
            log.info(
                "train_sae: %sepoch %s of %s: FVU %.4f, L0 %.2f, dead latents %.1f %%, dev NDCG@10 kept %s, %s rows/s",
                f"{_described(choices[number])[0]}: " if len(choices) > 1 else "",
                report.epoch,
                epochs,
                report.fvu,
                report.l0,
                100 * report.dead_fraction,
                _percent(kept),
                f"{report.rows / report.seconds:,.0f}",
            )

    return tell


if __name__ == "__main__":
    main(__file__)
