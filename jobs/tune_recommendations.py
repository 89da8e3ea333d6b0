"""Recommend items to every user under each tuning of the settings: concepts turned, all else as recommend_items does.

spark-submit --properties-file conf/spark/local.conf jobs/tune_recommendations.py --dt 2026-11-20
recsae run tune_recommendations --dt 2026-11-20

Tunings are resolved, and their effects measured on held-out users beside what else could be done (tuning_effects). Then
all are done in one pass over the users: each is represented, encoded and scored once as it is, and once more under each
tuning that moves it. Without tunings (tunings: []) both tables get no rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import functions as F

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.effects import COMPARISONS, MeasuredTuning
from recsae_lib.tuning.explicit import explicit_tunings
from recsae_lib.tuning.findings import winner
from recsae_lib.tuning.measuring import effect_rows, measure_tunings
from recsae_lib.tuning.nothing_tuned import write_nothing
from recsae_lib.tuning.places import Places, catalogue_files, has_held_out_users
from recsae_lib.tuning.tuned_lists import require_vectors, tune


@for_each_site
def run(context: JobContext) -> None:
    """Resolve the tunings, recommend under all of them, replace the partitions of both tables."""
    settings, warehouse = context.settings, context.warehouse
    if not settings.tunings:
        write_nothing(warehouse)
        log.info("tune_recommendations: there are no tunings (tunings: [])")
        return
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    sae_folder = context.registry.fetch(context.sae_name, context.sae_version)
    require_vectors(folder, settings.recommender.factory)
    effects = tables.TUNING_EFFECTS.empty(context.spark)
    if has_held_out_users(context):
        measured = measure_tunings(context.spark, settings.tunings, Places.of_context(context), settings)
        tunings = [one.resolved for one in measured]
        effects = effect_rows(context.spark, measured)
        log_findings(measured)
    else:
        log.warning("tune_recommendations: nobody is held out at site %s: effects are not measured", context.site)
        tunings = [*explicit_tunings(settings.tunings, load_sae(sae_folder).num_latents, lambda: live_latents(context))]
    is_own = settings.recommender.kind == External.kind
    rows = tune(
        model_inputs(warehouse.read_filled(tables.INTERACTIONS), folder),
        folder,
        sae_folder,
        tunings,
        context.site,
        settings.recommendations.top_n,
        settings.recommendations.block_users,
        settings.recommender.factory,
        context.spark.read.parquet(RepresentationSet.of_context(context, "last").require()) if is_own else None,
        catalogue_files(context),
    )
    warehouse.replace(tables.TUNED_RECOMMENDATIONS, rows)
    name_changes(context)
    warehouse.replace(tables.TUNING_EFFECTS, effects)


def log_findings(measured: Sequence[MeasuredTuning]) -> None:
    """Say how each tuning is carried out, and which method did most."""
    for one in measured:
        log.info("tune_recommendations: %s", one.line())
        for comparison in COMPARISONS:
            if (sentence := winner(one.effects, comparison)) is not None:
                log.info("tune_recommendations: %s: %s", one.resolved.name, sentence)


def live_latents(context: JobContext) -> Sequence[int]:
    """The latents that fire for anybody: each has its label."""
    labels = context.warehouse.read(tables.CONCEPT_LABELS).select("latent_id").distinct().orderBy("latent_id")
    return [row["latent_id"] for row in labels.collect()]  # at most M


def name_changes(context: JobContext) -> None:
    """Say how far each tuning changes the lists."""
    rows = context.warehouse.read(tables.TUNED_RECOMMENDATIONS).groupBy("tuning")
    counts = rows.agg(
        F.count("*").alias("users"), F.count_if(F.col("changed") > 0).alias("other"), F.avg("changed").alias("places")
    )
    for row in counts.orderBy("tuning").collect():
        log.info(
            "tune_recommendations: %s: %s of %s users have other lists, %.1f of %s places are new on average",
            *(row["tuning"], f"{row['other']:,}", f"{row['users']:,}", row["places"]),
            context.settings.recommendations.top_n,
        )


if __name__ == "__main__":
    main(__file__)
