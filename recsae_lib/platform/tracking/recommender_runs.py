"""The MLflow run of a recommender that is trained or brought along: parameters, epochs, accuracy, the version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from recsae_lib.config import RecommenderSettings
from recsae_lib.platform.compute.device import resolve_device
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.tracking.inputs import table_input
from recsae_lib.platform.tracking.runs import TrainingRun
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.evaluation import measure_test
from recsae_lib.recommenders.fit import EpochReport
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import FAMILIES, StoredModel, save_recommender, weights_digest
from recsae_lib.recommenders.training_histories import TrainingHistories

# Tables that a recommender of a kind is made from; the others from interactions alone.
READ_BY = {"module": (tables.INTERACTIONS, tables.ITEMS), "external": (tables.ITEMS,)}


@contextmanager
def open_run(context: JobContext, dimension: int) -> Iterator[TrainingRun]:
    """Open the run of the recommender that the settings name; it ends as `Registry.training_run` says."""
    parameters = run_parameters(context.settings.recommender, context.settings.seed, dimension)
    read = READ_BY.get(context.settings.recommender.kind, (tables.INTERACTIONS,))
    with context.registry.training_run(context.recommender_name, context.tags, parameters) as run:
        run.log_inputs([table_input(context, table) for table in read])
        yield run


def run_parameters(settings: RecommenderSettings, seed: int, dimension: int) -> dict[str, object]:
    """Return what decides a recommender: its kind and the settings of that, its width, and a seed if it is trained.

    Parameters
    ----------
    dimension : d; not logged of kind external, whose settings name only tables.
    """
    of_kind: dict[str, object] = getattr(settings, settings.kind).model_dump()
    if settings.kind == "external":
        return {"kind": settings.kind, **of_kind}
    if settings.kind == "module":
        return {"kind": settings.kind, "dimension": dimension, **of_kind}
    return {"kind": settings.kind, "dimension": dimension, "seed": seed, **of_kind}


def log_epochs(run: TrainingRun, cutoff: int) -> Callable[[EpochReport], None]:
    """Return what logs an epoch, to MLflow and to the terminal.

    Parameters
    ----------
    cutoff : of the dev NDCG that selects the epoch.
    """
    dev = f"dev_ndcg@{cutoff}"

    def log_epoch(epoch: EpochReport) -> None:
        run.log_metrics({"loss": epoch.loss, dev: epoch.dev_ndcg}, step=epoch.epoch)
        log.info(
            "train_recommender: %s, epoch %s: loss %.4f, %s %.4f, %.1f s",
            epoch.phase,
            epoch.epoch,
            epoch.loss,
            dev,
            epoch.dev_ndcg,
            epoch.seconds,
        )

    return log_epoch


def device_of(context: JobContext) -> torch.device:
    """Where the recommender is trained and measured."""
    return torch.device(resolve_device(context.settings.device))


def measure_model(
    context: JobContext,
    run: TrainingRun,
    model: StoredModel,
    histories: TrainingHistories,
    tied: float,
    known: np.ndarray | None = None,
) -> dict[str, float]:
    """Measure a recommender on the test items of its users, log the metrics, and return them (`measure_test`).

    Parameters
    ----------
    tied : share of the users whose test item hangs on a tie (`tied_share`), logged beside the figures.
    """
    settings = context.settings
    users = histories.held_out_users("test", settings.recommender.evaluation_users, settings.seed)
    device = device_of(context)
    metrics = {**measure_test(model.to(device), histories, users, device, known), "test_tied_share": tied}
    run.log_metrics(metrics)
    if metrics["test_ndcg@10"] <= metrics["popularity_ndcg@10"]:
        log.warning(
            "train_recommender: the recommender ranks held-out items no better than popularity does: NDCG@10 %.4f, by "
            "popularity %.4f. Look at its training; of a module of your own, whether recommender.module.items and "
            "users name the rows that it was trained with",
            metrics["test_ndcg@10"],
            metrics["popularity_ndcg@10"],
        )
    return metrics


def register_model(
    context: JobContext,
    run: TrainingRun,
    model: StoredModel,
    split: Split,
    folder: Path,
    metrics: Mapping[str, float],
) -> None:
    """Save a recommender beside its vocabularies, register the folder, and point the alias candidate at the version.

    Parameters
    ----------
    split : what was held out of its training.
    folder : holds the vocabularies.
    metrics : see `measure_model`, for the log; none of a recommender that cannot be run.
    """
    save_recommender(model, split, folder)
    name, kind = context.recommender_name, context.settings.recommender.kind
    tags = {"dt": context.dt.isoformat(), "kind": kind, "dimension": str(model.dimension)}
    outcome = outcome_line(model, metrics)
    run.describe(f"Recommender `{kind}` of {context.dt}: {outcome}.")
    version = context.registry.register_recommender(run, name, folder, weights_digest(folder), tags, kind in FAMILIES)
    context.registry.set_alias(name, "candidate", version)
    log.info("train_recommender: version %s of %s: %s", version, name, outcome)


def outcome_line(model: StoredModel, metrics: Mapping[str, float]) -> str:
    """A recommender as people read it: its sizes, and its accuracy beside both baselines where it was measured."""
    sizes = f"{model.item_count:,} items, {f'{model.dimension} values each' if model.dimension else 'no vectors'}"
    if not metrics:
        return sizes
    test, popularity, item_knn = (metrics[f"{of}_ndcg@10"] for of in ("test", "popularity", "item_knn"))
    figures = f"{sizes}, test NDCG@10 {test:.4f}, by popularity {popularity:.4f}, by item-kNN {item_knn:.4f}"
    order = f"{metrics['test_tied_share']:.0%} of the test items hang on a tie of time"
    repeated = metrics.get("test_repeated_target_share", 0.0)
    return f"{figures}; {order}" + (f", {repeated:.0%} had been seen and count as missed" if repeated else "")
