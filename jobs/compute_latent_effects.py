"""Say what each latent does to the output: the items and item features that a step along it pushes up and down most.

spark-submit --properties-file conf/spark/local.conf jobs/compute_latent_effects.py --dt 2026-11-20
recsae run compute_latent_effects --dt 2026-11-20

Where nobody can say so, the partition is empty and the log says why: at a probing site from which items are not scored,
and for recommendations of your own without item vectors.
"""

from __future__ import annotations

from recsae_lib.concepts.levels import live_latents
from recsae_lib.config import DEFAULT_SITE
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.tuning.feature_vectors import feature_vectors
from recsae_lib.tuning.item_vectors import ItemVectors, why_no_item_vectors
from recsae_lib.tuning.latent_effects import latent_effects


@for_each_site
def run(context: JobContext) -> None:
    """Find the item vectors, average them by feature, push along every live latent, replace the partition."""
    warehouse, settings = context.warehouse, context.settings
    live = live_latents(warehouse.read_filled(tables.LATENT_ACTIVATIONS))
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    factory = settings.recommender.factory
    missing = why_no_item_vectors(load_recommender(folder, factory))
    if context.site != DEFAULT_SITE:
        missing = f"items are not scored from site {context.site}"
    if missing is not None:
        warehouse.replace(tables.LATENT_EFFECTS, tables.LATENT_EFFECTS.empty(context.spark))
        log.info("compute_latent_effects: nothing to say: %s", missing)
        return
    representations = context.spark.read.parquet(RepresentationSet.of_context(context, "last").require())
    vectors = ItemVectors.of_model(folder, factory, representations)
    features = feature_vectors(
        warehouse.read_filled(tables.ITEMS), vectors, settings.coverage.minimum_document_frequency
    )
    sae = context.registry.fetch(context.sae_name, context.sae_version)
    rows = warehouse.replace(tables.LATENT_EFFECTS, latent_effects(live, sae, vectors, features))
    log.info("compute_latent_effects: %s rows, %s item features", f"{rows:,}", f"{len(features):,}")


if __name__ == "__main__":
    main(__file__)
