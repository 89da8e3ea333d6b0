"""Train the sparse autoencoder on the representations of this date and register it, alias candidate.

spark-submit --properties-file conf/spark/local.conf jobs/train_sae.py --dt 2026-11-20
recsae run train_sae --dt 2026-11-20

It opens no Spark session and runs wherever the bulk folder and MLflow can be reached, on CUDA where there is one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from recsae_lib.checkpoint import CheckpointFile
from recsae_lib.config import Settings
from recsae_lib.device import resolve_device
from recsae_lib.job import JobContext, for_each_site, log, main
from recsae_lib.recommenders.evaluation import LIST_LENGTH
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.registry import TrainingRun
from recsae_lib.representations.held_out import read_held_out
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.run_record import code_version
from recsae_lib.sae.evaluation import evaluate_sae
from recsae_lib.sae.fidelity import measure_fidelity
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.plots import density_plot, loss_plot
from recsae_lib.sae.store import save_sae, weights_digest
from recsae_lib.sae.training import EpochReport, SaeChoice, train_saes
from recsae_lib.stop_signals import stop_at_signals

SECONDS_BETWEEN_LINES = 5.0  # of progress on the terminal
CHECKPOINT_SECONDS = 60.0
EXAMPLE_ROWS = 3


@for_each_site
def run(context: JobContext) -> None:
    """Train, measure reconstruction and fidelity, register weights and metrics together."""
    settings = context.settings
    loader = RepresentationLoader(
        _set_of(context, "training").require(),
        settings.sae.batch_size,
        settings.seed,
        settings.sae.loader_workers,
        budget_mib=settings.sae.data_budget_mib,
    )
    fidelity_on = _fidelity_measurer(context)
    device = resolve_device(settings.device)
    parameters = _parameters(context, loader, device)
    identity = hashlib.sha256(f"{parameters} {code_version()}".encode()).hexdigest()
    checkpoint = CheckpointFile(context.work_folder() / "checkpoint.safetensors", identity, CHECKPOINT_SECONDS)
    with context.registry.training_run(context.sae_name, context.tags, parameters) as mlrun:

        def on_epoch(_: int, report: EpochReport, sae: SparseAutoencoder | None) -> None:
            tell(report, None if sae is None else fidelity_on("dev", sae).get("ndcg@10_kept"))

        tell = _teller(mlrun, settings)
        with stop_at_signals() as stop:
            choices = [SaeChoice(settings.sae, settings.seed)]
            (trained,) = train_saes(loader.iterate, loader.dimension, choices, device, on_epoch, checkpoint, stop)
        reconstruction = evaluate_sae(trained.sae, loader.iterate(0))
        example = next(loader.iterate(0))[:EXAMPLE_ROWS].numpy()
        fidelity = fidelity_on("test", trained.sae)
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
        }
        version = context.registry.register_sae(mlrun, context.sae_name, folder, weights_digest(folder), example, tags)
    context.registry.set_alias(context.sae_name, "candidate", version)
    log.info(
        "train_sae: version %s: FVU %.4f, L0 %.2f, dead latents %.1f %%, NDCG@10 kept %s",
        version,
        reconstruction.fvu,
        reconstruction.l0,
        100 * reconstruction.dead_fraction,
        _percent(fidelity.get("ndcg@10_kept")),
    )


def _fidelity_measurer(context: JobContext) -> Callable[[RowKind, SparseAutoencoder], dict[str, float]]:
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


def _set_of(context: JobContext, rows: RowKind) -> RepresentationSet:
    return RepresentationSet.of(
        context.settings, context.recommender_name, context.model_version, rows, context.dt, context.site
    )


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.1%}"


def _parameters(context: JobContext, loader: RepresentationLoader, device: str) -> dict[str, object]:
    return {
        **context.settings.sae.model_dump(mode="json"),
        "seed": context.settings.seed,
        "device": device,
        "dimension": loader.dimension,
        "data_folder": loader.folder,
        "data_rows": loader.total_rows,
        "data_digest": loader.digest(),
        "recommender": f"{context.recommender_name} {context.model_version}",
    }


def _teller(mlrun: TrainingRun, settings: Settings) -> Callable[[EpochReport, float | None], None]:
    """Return what logs an epoch: always to MLflow, now and then to the terminal."""
    last_line = time.monotonic()

    def tell(report: EpochReport, kept: float | None) -> None:
        nonlocal last_line
        metrics = {"fvu": report.fvu, "auxk": report.auxk, "l0": report.l0, "dead_fraction": report.dead_fraction}
        if kept is not None:
            metrics["dev_ndcg@10_kept"] = kept
        mlrun.log_metrics({f"epoch_{name}": value for name, value in metrics.items()}, step=report.epoch)
        if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES or report.epoch in (1, settings.sae.epochs):
            last_line = time.monotonic()
            log.info(
                "train_sae: epoch %s of %s: FVU %.4f, L0 %.2f, dead latents %.1f %%, dev NDCG@10 kept %s, %s rows/s",
                report.epoch,
                settings.sae.epochs,
                report.fvu,
                report.l0,
                100 * report.dead_fraction,
                _percent(kept),
                f"{report.rows / report.seconds:,.0f}",
            )

    return tell


if __name__ == "__main__":
    main(__file__, run)
