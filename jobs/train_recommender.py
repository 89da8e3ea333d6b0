"""Train the recommender on the interactions, measure it on held-out items, register it.

spark-submit --properties-file conf/spark/local.conf jobs/train_recommender.py --dt 2026-11-20
recsae run train_recommender --dt 2026-11-20

Spark numbers items and users and writes each user's history; torch trains in the memory of the machine that runs this
job (the driver), which holds all histories as flat arrays: 4 bytes an interaction and 8 a user, 200 MB for 50 million
interactions, and as much again for the training part. Losses with negatives take another 8 bytes an interaction, and
BPR-MF has d floats (and Adam's two moments) for every user. The same interactions, settings and seed give the same
version.
"""

from __future__ import annotations

import shutil

import torch

from recsae_lib.device import resolve_device
from recsae_lib.job import JobContext, log, main
from recsae_lib.recommenders.evaluation import evaluated_users, measure_test
from recsae_lib.recommenders.fit import EpochReport, fit
from recsae_lib.recommenders.store import save_recommender, weights_digest
from recsae_lib.recommenders.training_data import prepare_training_data
from recsae_lib.warehouse import tables


def run(context: JobContext) -> None:
    """Read interactions, train with early stopping, register, and point the alias candidate at the version."""
    settings = context.settings.recommender
    folder = context.work_folder() / "model"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run, perhaps of another kind
    folder.mkdir()
    name, bulk = context.recommender_name, context.settings.paths.bulk.rstrip("/")
    histories = prepare_training_data(
        context.warehouse.read_filled(tables.INTERACTIONS),
        folder,
        f"{bulk}/training/model={name}/dt={context.dt.isoformat()}",
        user_vocabulary=settings.kind == "bpr_mf",
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
                "train_recommender: epoch %s: loss %.4f, %s %.4f, %.1f s",
                epoch.epoch,
                epoch.loss,
                dev,
                epoch.dev_ndcg,
                epoch.seconds,
            )

        device = torch.device(resolve_device(context.settings.device))
        trained = fit(histories, settings, context.settings.seed, device, report)
        users = evaluated_users(histories, settings.evaluation_users, context.settings.seed)
        metrics = measure_test(trained.model, histories, users, device)
        training.log_metrics({**metrics, "best_epoch": trained.best_epoch})
        save_recommender(trained.model, folder)
        tags = {"dt": context.dt.isoformat(), "kind": settings.kind, "dimension": str(settings.dimension)}
        version = context.registry.register_recommender(training, name, folder, weights_digest(folder), tags)
    context.registry.set_alias(name, "candidate", version)
    log.info(
        "train_recommender: version %s of %s, epoch %s: test NDCG@10 %.4f, by popularity %.4f",
        version,
        name,
        trained.best_epoch,
        metrics["test_ndcg@10"],
        metrics["popularity_ndcg@10"],
    )


if __name__ == "__main__":
    main(__file__, run)
