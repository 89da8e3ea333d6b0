"""The MLflow runs of a training of SAEs: parameters, epochs, versions with their lineage, and the table of a sweep."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from shutil import rmtree

import numpy as np

from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.tracking.inputs import folder_input
from recsae_lib.platform.tracking.registry import MOST_ACTIVE_TAG
from recsae_lib.platform.tracking.runs import TrainingRun
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.dictionaries import FOLDER, name_of, write_dictionaries
from recsae_lib.sae.evaluation import SaeMetrics
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.plots import density_plot, loss_plot, sweep_plot
from recsae_lib.sae.store import load_sae, save_sae, weights_digest
from recsae_lib.sae.training.loop import OnEpoch, TrainedSae
from recsae_lib.sae.training.one_sae import EpochReport, SaeChoice
from recsae_lib.sae.training.sweep import SweepResult

SECONDS_BETWEEN_LINES = 5.0  # of progress on the terminal
KEPT = "ndcg@10_kept"  # the measure of fidelity that epochs, versions and sweeps are compared by


@dataclass(frozen=True)
class SaeRuns:
    """The runs of one training.

    Parameters
    ----------
    whole : run of the training.
    each : run of each SAE: `whole` where there is one, else a run nested in it; of a replica one in that of its SAE.
    choices : the SAEs, each followed by its replicas, in the order of `each`.
    """

    whole: TrainingRun
    each: tuple[TrainingRun, ...]
    choices: tuple[SaeChoice, ...]

    def log_epochs(self, kept_of: Callable[[SparseAutoencoder], float | None]) -> OnEpoch:
        """Return what logs an epoch of one SAE: always to MLflow, every few seconds to the terminal. Of replicas only
        the training is logged, and only to MLflow.

        Parameters
        ----------
        kept_of : measures the share of dev NDCG@10 that an SAE keeps; None where nobody is held out.
        """
        last_line = time.monotonic()

        def log_epoch(number: int, report: EpochReport, sae: SparseAutoencoder | None) -> None:
            nonlocal last_line
            choice = self.choices[number]
            kept = None if sae is None or choice.replica else kept_of(sae)
            self.each[number].log_metrics(epoch_metrics(report, kept), step=report.epoch)
            if choice.replica:
                return
            epochs = choice.settings.epochs
            if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES or report.epoch in (1, epochs):
                last_line = time.monotonic()
                name = f"{choice_name(choice)}: " if several_of(self.choices) else ""
                log.info("train_sae: %s%s", name, epoch_line(report, epochs, kept))

        return log_epoch

    def log_sweep(self, results: Sequence[SweepResult], versions: Sequence[int], best: int) -> None:
        """Log what several SAEs came to, side by side, and which version is the best; nothing of one SAE alone.

        Parameters
        ----------
        results, versions : of the SAEs, without replicas.
        best : place of the best one.
        """
        if len(results) > 1:
            rows = [{"version": version, **result.row()} for version, result in zip(versions, results, strict=True)]
            self.whole.log_table("sweep", rows)
            self.whole.log_figure("fvu_by_k", sweep_plot(results))
            self.whole.set_tags({"best_version": str(versions[best])})
            self.whole.describe(
                f"{len(results)} sparse autoencoders side by side; the best is version {versions[best]}."
            )


@contextmanager
def open_runs(context: JobContext, choices: Sequence[SaeChoice], parameters: Mapping[str, object]) -> Iterator[SaeRuns]:
    """Open the run of the training, of several SAEs a run for each, and of each replica one in that of its SAE.

    They end as `Registry.training_run` says.
    """
    read = folder_input("representations", str(parameters["data_folder"]), str(parameters["data_digest"]))
    with context.registry.training_run(context.sae_name, context.tags, parameters) as whole, ExitStack() as nested:
        whole.log_inputs([read])
        each: list[TrainingRun] = []
        own = whole
        for choice in choices:
            run = whole
            if choice.replica or several_of(choices):
                above = own if choice.replica else whole
                run = nested.enter_context(above.nested(choice_name(choice), choice_parameters(choice)))
                run.log_inputs([read])
            own = own if choice.replica else run
            each.append(run)
        yield SaeRuns(whole, tuple(each), tuple(choices))


def training_parameters(
    context: JobContext, rows: Mapping[str, object], device: str, processes: int
) -> dict[str, object]:
    """Return all that decides the weights: settings, what is known of the training rows, device and recommender.

    Parameters
    ----------
    rows : see `RepresentationLoader.parameters`; its batch size stands where the settings leave it open.
    """
    return {
        **context.settings.sae.model_dump(mode="json"),
        **rows,
        "seed": context.settings.seed,
        "device": device,
        "processes": processes,
        "recommender": f"{context.recommender_name} {context.model_version}",
    }


def training_identity(parameters: Mapping[str, object]) -> str:
    """SHA-256 of parameters and code: a checkpoint of another training is not gone on from."""
    return hashlib.sha256(f"{parameters} {code_version()}".encode()).hexdigest()


def warm_start(context: JobContext) -> tuple[int | None, SparseAutoencoder | None]:
    """Return version and weights of the champion to go on from; two times None for random weights."""
    if context.settings.sae.start != "champion":
        return None, None
    name, version = context.sae_name, context.registry.champion(context.sae_name)
    if version is None:
        log.info("train_sae: %s has no champion yet: the weights start at random", name)
        return None, None
    read = context.registry.tags(name, version).get("model_version")
    if read != str(context.model_version):
        log.warning(
            "train_sae: the champion, version %s, reads recommender version %s, not %s: latents keep their meaning "
            "only if that recommender was trained on from the other",
            version,
            read,
            context.model_version,
        )
    return version, load_sae(context.registry.fetch(name, version))


def lineage(data_digest: object, parent: int | None) -> dict[str, str]:
    """Tags that say what a version comes from: code, training rows, and the version that it went on from, if any."""
    tags = {"code_version": code_version(), "data_digest": str(data_digest)}
    return tags if parent is None else {**tags, "parent_version": str(parent)}


def register(
    context: JobContext,
    run: TrainingRun,
    choice: SaeChoice,
    trained: TrainedSae,
    reconstruction: SaeMetrics,
    fidelity: Mapping[str, float],
    example: np.ndarray,
    origin: Mapping[str, str],
    others: Iterable[tuple[UnitKind, int, SparseAutoencoder]],
    measure: Callable[[SparseAutoencoder], dict[str, float]],
) -> int:
    """Log what one SAE came to, register it together with what it is compared with, and return its version.

    Parameters
    ----------
    reconstruction : on the training rows.
    fidelity : on the test users; empty where nobody is held out.
    example : (n, d) some representations, kept beside the model.
    origin : see `lineage`.
    others, measure : see `write_dictionaries`. Figures of the dictionaries are metrics ``dictionaries/<kind>-<n>_…`` of
        the run; later jobs read them from the folder of the version.
    """
    run.log_metrics({**reconstruction.by_name(), **fidelity})
    run.log_figure("density", density_plot(reconstruction.densities, reconstruction.rows))
    run.log_figure("loss", loss_plot(trained.reports))
    description = {"model_version": context.model_version, "dt": context.dt.isoformat()}
    outcome = outcome_line(reconstruction, fidelity.get(KEPT))
    run.describe(f"Sparse autoencoder of {context.dt}: {outcome}.")
    folder = context.work_folder() / "sae"
    rmtree(folder, ignore_errors=True)  # an earlier run may have had more dictionaries
    save_sae(trained.sae, folder, description)
    figures = write_dictionaries(folder, trained.sae, others, description, measure)
    tags = {
        **{name: str(value) for name, value in description.items()},
        "num_latents": str(trained.sae.num_latents),
        "dimension": str(trained.sae.dimension),
        "k": str(choice.settings.k),
        MOST_ACTIVE_TAG: str(trained.sae.k),
        "variant": choice.settings.variant,
        **origin,
    }
    version = context.registry.register_sae(run, context.sae_name, folder, weights_digest(folder), example, tags)
    run.log_metrics(
        {f"{FOLDER}/{name_of(key)}_{name}": value for key, of in figures.items() for name, value in of.items()}
    )
    log.info("train_sae: version %s: %s", version, outcome)
    return version


def choice_name(choice: SaeChoice) -> str:
    """Name of one of several SAEs, or of a replica."""
    settings = choice.settings
    name = f"{settings.variant}, k = {settings.k}, s = {settings.expansion_factor}, seed {choice.seed}"
    return f"replica {choice.replica}: {name}" if choice.replica else name


def several_of(choices: Sequence[SaeChoice]) -> bool:
    """Whether there is more than one SAE, replicas apart."""
    return sum(not choice.replica for choice in choices) > 1


def choice_parameters(choice: SaeChoice) -> dict[str, object]:
    """Parameters of the nested run of one of several SAEs."""
    return {**choice.settings.model_dump(mode="json"), "seed": choice.seed}


def epoch_metrics(report: EpochReport, kept: float | None) -> dict[str, float]:
    """Metrics of one pass, under names that no metric of the whole training has."""
    metrics = {"fvu": report.fvu, "auxk": report.auxk, "l0": report.l0, "dead_fraction": report.dead_fraction}
    if kept is not None:
        metrics[f"dev_{KEPT}"] = kept
    return {f"epoch_{name}": value for name, value in metrics.items()}


def epoch_line(report: EpochReport, epochs: int, kept: float | None) -> str:
    """One pass as people read it."""
    return (
        f"epoch {report.epoch} of {epochs}: FVU {report.fvu:.4f}, L0 {report.l0:.2f}, "
        f"dead latents {100 * report.dead_fraction:.1f} %, dev NDCG@10 kept {_percent(kept)}, "
        f"{report.rows / report.seconds:,.0f} rows/s"
    )


def outcome_line(reconstruction: SaeMetrics, kept: float | None) -> str:
    """What one SAE came to, as people read it."""
    beyond = f" ({reconstruction.rows_beyond_reach:,} rows beyond reach)" if reconstruction.rows_beyond_reach else ""
    return (
        f"FVU {reconstruction.fvu:.4f}, within reach {reconstruction.fvu_within_reach:.4f}{beyond}, by dimension "
        f"{reconstruction.fvu_by_dimension:.4f}, L0 {reconstruction.l0:.2f}, "
        f"dead latents {100 * reconstruction.dead_fraction:.1f} %, NDCG@10 kept {_percent(kept)}"
    )


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.1%}"
