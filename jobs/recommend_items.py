"""Recommend items to every user over the full catalogue, seen items masked, and keep the latest history beside them.

spark-submit --properties-file conf/spark/local.conf jobs/recommend_items.py --dt 2026-11-20
recsae run recommend_items --dt 2026-11-20
"""

from __future__ import annotations

from pyspark import StorageLevel
from pyspark.sql import DataFrame

from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.tables import read_own_rows, validate_lists, write_rejected
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.recommend import recommend, recommend_given
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.layout import RepresentationSet


def run(context: JobContext) -> None:
    """Read interactions, score in blocks of users, replace the partition of recommendations."""
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    histories = model_inputs(context.warehouse.read_filled(tables.INTERACTIONS), folder)
    settings, recommender = context.settings.recommendations, context.settings.recommender
    representations = None
    if recommender.kind == External.kind:
        model = load_recommender(folder)
        if not model.dimension:
            _replace(
                context,
                recommend_given(_given_lists(context), histories, folder, settings.top_n, settings.context_items),
            )
            return
        representations = context.spark.read.parquet(RepresentationSet.of_context(context, "last").require())
    rows = recommend(
        histories,
        folder,
        settings.top_n,
        settings.context_items,
        settings.block_users,
        recommender.factory,
        representations,
    )
    _replace(context, rows)


def _replace(context: JobContext, rows: DataFrame) -> None:
    users = context.warehouse.replace(tables.RECOMMENDATIONS, rows)
    log.info("recommend_items: %s users, up to %s items each", f"{users:,}", context.settings.recommendations.top_n)


def _given_lists(context: JobContext) -> DataFrame:
    """Recommendations of the settings' own table; what cannot be used is written with its reason."""
    name = context.settings.recommender.external.recommendations or ""
    columns = {"user_id": "id", "item_ids": "ids", "scores": "numbers"}
    lists = read_own_rows(context.spark, name, columns, optional=("scores",)).persist(StorageLevel.DISK_ONLY)
    validated = validate_lists(lists)
    if validated.accepted.isEmpty():
        raise InputError(f"{name} has no usable recommendations", "Give it (user_id, item_ids[, scores])")
    folder = RepresentationSet.of_context(context, "last").rejected("recommendations")
    if refused := write_rejected(validated, folder):
        log.warning("recommend_items: %s rows of %s refused, reasons in %s", f"{refused:,}", name, folder)
    return validated.accepted


if __name__ == "__main__":
    main(__file__)
