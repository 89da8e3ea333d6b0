"""Train the recommender on the interactions, measure it on held-out items, register it.

spark-submit --properties-file conf/spark/local.conf jobs/train_recommender.py --dt 2026-11-20
recsae run train_recommender --dt 2026-11-20

Spark numbers items and users and writes each user's history; torch trains on the machine that runs this job (the
driver), in memory: 4 bytes an interaction and 16 a user, twice (200 MB each for 50 million interactions), another 8 an
interaction for losses with negatives, 16 for LightGCN's graph, and 3 d floats a user for LightGCN and BPR-MF. The same
interactions, settings and seed give the same version. A killed training goes on from its last checkpoint.

A module of your own (kind module) is built, measured and registered; of representations of your own (kind external) the
item vectors are registered, or the names of your tables. Neither is trained.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.tracking.recommender_runs import device_of, log_epochs, measure_model, open_run, register_model
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.fit import fit
from recsae_lib.recommenders.foreign.loading import prepare_external, prepare_module
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.ties import tied_share
from recsae_lib.recommenders.training_data import prepare_training_data, training_folder


def run(context: JobContext) -> None:
    """Train a recommender, or take yours; measure it, register it, point the alias candidate at the version."""
    folder = context.work_folder() / "model"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run, perhaps of another kind
    folder.mkdir()
    shared_folder = training_folder(context.settings.paths.bulk, context.recommender_name, context.dt)
    of_kind = {"module": take_module, "external": take_external}
    of_kind.get(context.settings.recommender.kind, train)(context, folder, shared_folder)


def train(context: JobContext, folder: Path, shared_folder: str) -> None:
    """Train with early stopping."""
    settings, seed = context.settings.recommender, context.settings.seed
    interactions = context.warehouse.read_filled(tables.INTERACTIONS)
    split = Split.resolve(settings.split, interactions)
    has_users = settings.kind in ("bpr_mf", "lightgcn")
    histories = prepare_training_data(interactions, split, folder, shared_folder, user_vocabulary=has_users)
    sizes = (f"{number:,}" for number in (len(histories.items), len(histories), histories.item_count))
    log.info("train_recommender: %s on %s interactions of %s users with %s items", settings.kind, *sizes)
    device, checkpoint = device_of(context), folder.parent / "checkpoint.safetensors"
    with open_run(context, settings.dimension) as mlrun:
        trained = fit(histories, settings, seed, device, log_epochs(mlrun, settings.selection_cutoff), checkpoint)
        mlrun.log_metrics({"best_epoch": trained.best_epoch})
        metrics = measure_model(context, mlrun, trained.model, histories, tied_share(interactions, split))
        register_model(context, mlrun, trained.model, split, folder, metrics)


def take_module(context: JobContext, folder: Path, shared_folder: str) -> None:
    """Build the module of the settings, which is measured as if it had been trained here."""
    settings = context.settings.recommender
    interactions, items = (context.warehouse.read_filled(table) for table in (tables.INTERACTIONS, tables.ITEMS))
    split = Split.resolve(settings.split, interactions)
    prepared = prepare_module(interactions, items, split, settings.module, folder, shared_folder)
    if not prepared.known.all():
        missing = f"{(~prepared.known).sum():,} of {len(prepared.known):,} ingested items"
        lost = 1 - prepared.known[prepared.histories.items].mean()
        log.warning(
            "train_recommender: %s, %.1f %% of the interactions, have no row in %s: the module neither reads nor "
            "recommends them, and is measured on them all the same",
            missing,
            100 * lost,
            settings.module.items,
        )
    if settings.module.users is not None:
        users = interactions.select("user_id").distinct().count()
        log.info(
            "train_recommender: %s of %s users have a row in %s",
            f"{len(prepared.histories):,}",
            f"{users:,}",
            settings.module.users,
        )
    with open_run(context, prepared.model.dimension) as mlrun:
        tied = tied_share(interactions, split)
        metrics = measure_model(context, mlrun, prepared.model, prepared.histories, tied, prepared.known)
        register_model(context, mlrun, prepared.model, split, folder, metrics)


def take_external(context: JobContext, folder: Path, shared_folder: str) -> None:
    """Take item vectors, or the names of your tables; nothing can be measured without the model itself."""
    items, settings = context.warehouse.read_filled(tables.ITEMS), context.settings.recommender.external
    model = prepare_external(context.spark, items, settings, folder, shared_folder)
    with open_run(context, model.dimension) as mlrun:
        register_model(context, mlrun, model, Split(), folder, {})
    log.info("train_recommender: it knows %s of %s ingested items", f"{model.item_count:,}", f"{items.count():,}")


if __name__ == "__main__":
    main(__file__)
