"""Train the recommender on the interactions, measure it on held-out items, register it.

spark-submit --properties-file conf/spark/local.conf jobs/train_recommender.py --dt 2026-11-20
recsae run train_recommender --dt 2026-11-20

Spark numbers items and users and writes each user's history; torch trains in the memory of the machine that runs this
job (the driver), which holds all histories as flat arrays: 4 bytes an interaction and 16 a user, 200 MB for 50 million
interactions, and as much again for the training part. Losses with negatives take another 8 bytes an interaction, the
graph of LightGCN 16, and BPR-MF and LightGCN have d floats (and Adam's two moments) for every user. The same
interactions, settings and seed give the same version. A killed training goes on from its last checkpoint.

A module of your own (kind module) is built, given its weights, numbered, measured and registered; of representations of
your own (kind external) the item vectors are registered, or the names of your tables. Neither is trained.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from recsae_lib.platform.compute.device import resolve_device
from recsae_lib.platform.job.run import JobContext, log, main
from recsae_lib.platform.tracking.registry import TrainingRun
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.evaluation import measure_test
from recsae_lib.recommenders.fit import EpochReport, fit
from recsae_lib.recommenders.foreign.loading import prepare_external, prepare_module
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender, weights_digest
from recsae_lib.recommenders.training_data import prepare_training_data


def run(context: JobContext) -> None:
    """Read interactions, train with early stopping, register, and point the alias candidate at the version."""
    settings = context.settings.recommender
    if settings.kind == "module":
        _register_module(context)
        return
    if settings.kind == "external":
        _register_external(context)
        return
    folder = _empty_folder(context)
    name = context.recommender_name
    interactions = context.warehouse.read_filled(tables.INTERACTIONS)
    split = Split.resolve(settings.split, interactions)
    histories = prepare_training_data(
        interactions,
        split,
        folder,
        _bulk_folder(context),
        user_vocabulary=settings.kind in ("bpr_mf", "lightgcn"),
    )
    log.info(
        "train_recommender: %s on %s interactions of %s users with %s items",
        settings.kind,
        f"{len(histories.items):,}",
        f"{len(histories):,}",
        f"{histories.item_count:,}",
    )
    parameters = {
        "kind": settings.kind,
        "dimension": settings.dimension,
        "seed": context.settings.seed,
        **getattr(settings, settings.kind).model_dump(),
    }
    with context.registry.training_run(name, context.tags, parameters) as training:

        def report(epoch: EpochReport) -> None:
            dev = f"dev_ndcg@{settings.selection_cutoff}"
            training.log_metrics({"loss": epoch.loss, dev: epoch.dev_ndcg}, step=epoch.epoch)
            log.info(
                "train_recommender: %s, epoch %s: loss %.4f, %s %.4f, %.1f s",
                epoch.phase,
                epoch.epoch,
                epoch.loss,
                dev,
                epoch.dev_ndcg,
                epoch.seconds,
            )

        device = torch.device(resolve_device(context.settings.device))
        checkpoint = context.work_folder() / "checkpoint.safetensors"
        trained = fit(histories, settings, context.settings.seed, device, report, checkpoint)
        users = histories.held_out_users("test", settings.evaluation_users, context.settings.seed)
        metrics = measure_test(trained.model, histories, users, device)
        training.log_metrics({**metrics, "best_epoch": trained.best_epoch})
        save_recommender(trained.model, split, folder)
        version = _register(context, training, folder, settings.dimension)
    log.info(
        "train_recommender: version %s of %s, epoch %s: test NDCG@10 %.4f, by popularity %.4f, by item-kNN %.4f",
        version,
        name,
        trained.best_epoch,
        metrics["test_ndcg@10"],
        metrics["popularity_ndcg@10"],
        metrics["item_knn_ndcg@10"],
    )


def _register_module(context: JobContext) -> None:
    """Build the module of the settings, measure it on held-out items, register it."""
    settings = context.settings.recommender
    folder = _empty_folder(context)
    interactions = context.warehouse.read_filled(tables.INTERACTIONS)
    split = Split.resolve(settings.split, interactions)
    prepared = prepare_module(
        interactions,
        context.warehouse.read_filled(tables.ITEMS),
        split,
        settings.module,
        folder,
        _bulk_folder(context),
    )
    model, histories = prepared.model, prepared.histories
    parameters = {"kind": settings.kind, "dimension": model.dimension, **settings.module.model_dump()}
    with context.registry.training_run(context.recommender_name, context.tags, parameters) as run_of_module:
        users = histories.held_out_users("test", settings.evaluation_users, context.settings.seed)
        device = torch.device(resolve_device(context.settings.device))
        metrics = measure_test(model.to(device), histories, users, device)
        run_of_module.log_metrics(metrics)
        save_recommender(model, split, folder)
        version = _register(context, run_of_module, folder, model.dimension)
    log.info(
        "train_recommender: %s with %s items is version %s of %s: test NDCG@10 %.4f, by popularity %.4f",
        settings.module.factory,
        f"{model.item_count:,}",
        version,
        context.recommender_name,
        metrics["test_ndcg@10"],
        metrics["popularity_ndcg@10"],
    )


def _register_external(context: JobContext) -> None:
    """Register item vectors, or the names of your tables; nothing can be measured without the model itself."""
    settings = context.settings.recommender
    folder = _empty_folder(context)
    items = context.warehouse.read_filled(tables.ITEMS)
    model = prepare_external(context.spark, items, settings.external, folder, _bulk_folder(context))
    parameters = {"kind": settings.kind, **settings.external.model_dump()}
    with context.registry.training_run(context.recommender_name, context.tags, parameters) as run_of_external:
        save_recommender(model, Split(), folder)
        version = _register(context, run_of_external, folder, model.dimension)
    log.info(
        "train_recommender: %s of %s ingested items%s are version %s of %s",
        f"{model.item_count:,}",
        f"{items.count():,}",
        f" with vectors of {model.dimension} values" if model.dimension else ", without vectors,",
        version,
        context.recommender_name,
    )


def _register(context: JobContext, run: TrainingRun, folder: Path, dimension: int) -> int:
    """Register a saved folder and point the alias candidate at it."""
    name = context.recommender_name
    tags = {"dt": context.dt.isoformat(), "kind": context.settings.recommender.kind, "dimension": str(dimension)}
    version = context.registry.register_recommender(run, name, folder, weights_digest(folder), tags)
    context.registry.set_alias(name, "candidate", version)
    return version


def _empty_folder(context: JobContext) -> Path:
    folder = context.work_folder() / "model"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run, perhaps of another kind
    folder.mkdir()
    return folder


def _bulk_folder(context: JobContext) -> str:
    bulk = context.settings.paths.bulk.rstrip("/")
    return f"{bulk}/training/model={context.recommender_name}/dt={context.dt.isoformat()}"


if __name__ == "__main__":
    main(__file__)
