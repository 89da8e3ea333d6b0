"""Recommend items to every user over the full catalogue, seen items masked, and keep the latest history beside them.

spark-submit --properties-file conf/spark/local.conf jobs/recommend_items.py --dt 2026-11-20
recsae run recommend_items --dt 2026-11-20
"""

from __future__ import annotations

from pyspark.sql import functions as F

from recsae_lib.job import JobContext, log, main
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.recommend import recommend
from recsae_lib.warehouse import tables


def run(context: JobContext) -> None:
    """Read interactions, score in blocks of users, replace the partition of recommendations."""
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    histories = model_inputs(context.warehouse.read_filled(tables.INTERACTIONS), folder)
    settings = context.settings.recommendations
    rows = recommend(histories, folder, settings.top_n, settings.context_items, settings.block_users)
    users = context.warehouse.replace(
        tables.RECOMMENDATIONS, rows.withColumn("model_version", F.lit(context.model_version))
    )
    log.info("recommend_items: %s users, %s items each", f"{users:,}", settings.top_n)


if __name__ == "__main__":
    main(__file__, run)
