"""Measure coverage, coherence, distinctiveness and chance levels: of the SAE, its shuffled labels, and both baselines.

spark-submit --properties-file conf/spark/local.conf jobs/measure_coverage.py --dt 2026-11-20
recsae run measure_coverage --dt 2026-11-20

The shuffled labels are the SAE's latents as the terms of other latents judged them (verify_concepts). The baselines (a
randomly initialised SAE, and the raw dimensions with each sign a unit) go through the same evidence, terms, cases and
judge as the SAE. All kinds are compared by the term scorer; of judge llm the metrics of the SAE begin with llm_.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

from pyspark.sql import DataFrame

from recsae_lib.concepts.linking import linked_items
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.left_out import left_out_metrics
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.dictionaries import dictionary_folder
from recsae_lib.verification.metrics import (
    Metrics,
    counts_line,
    llm_metrics,
    recorded_metrics,
    unit_metrics,
    user_metrics,
)
from recsae_lib.verification.units import Units, release, unit_coverage, units_of_each_kind


@for_each_site
def run(context: JobContext) -> None:
    """Measure all kinds of units side by side; write concept_coverage, then audit_metrics."""
    warehouse, settings, read = context.warehouse, context.settings, context.warehouse.read
    items = warehouse.read_filled(tables.ITEMS).cache()
    linked = linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence)
    last = RepresentationSet.of_context(context, "last")
    representations = context.spark.read.parquet(last.require()).select("user_id", "representation")
    embeddings = context.spark.read.parquet(last.item_embeddings())
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    by_terms = read(tables.CONCEPT_SCORES).where("judge = 'terms'")
    latents = Units(UnitKind.SAE, activations, read(tables.LATENT_ITEMS), read(tables.CONCEPT_TERMS), by_terms)
    untrained = dictionary_folder(context.registry.fetch(context.sae_name, context.sae_version), UnitKind.UNTRAINED, 1)

    def measure(units_of: Callable[[], Units]) -> tuple[DataFrame, Metrics]:
        units = units_of()
        coverage = unit_coverage(units, items, settings)
        metrics = unit_metrics(units, representations, embeddings, items, settings)
        release(units)
        log.info("measure_coverage: %s", counts_line(units.kind, metrics))
        return coverage, metrics

    shuffled = read(tables.SHUFFLED_SCORES)
    kinds = units_of_each_kind(latents, shuffled, untrained, representations, linked, items, settings)
    coverage, measured = zip(*side_by_side(measure, kinds), strict=True)
    warehouse.replace(tables.CONCEPT_COVERAGE, reduce(DataFrame.unionByName, coverage))
    metrics = reduce(operator.or_, measured, measured_before(context))
    rows = [(kind.value, name, value) for (kind, name), value in sorted(metrics.items())]
    values = local_frame(context.spark, rows, "unit_kind string, metric string, value double")
    warehouse.replace(tables.AUDIT_METRICS, values)


def measured_before(context: JobContext) -> Metrics:
    """What the jobs before this one have measured: refused rows, both trainings, and judge llm where it judges."""
    read, registry = context.warehouse.read, context.registry
    rejects, interactions, items = (read(t).count() for t in (tables.REJECTS, tables.INTERACTIONS, tables.ITEMS))
    of_recommender = registry.metrics(context.recommender_name, context.model_version)
    of_sae = registry.metrics(context.sae_name, context.sae_version)
    metrics = recorded_metrics(of_recommender, of_sae, rejects, interactions + items)
    left_out = left_out_metrics(read(tables.LEFT_OUT), read(tables.INTERACTIONS))
    metrics |= {(UnitKind.RECOMMENDER, name): value for name, value in left_out.items()}
    metrics |= user_metrics(read(tables.LATENT_ACTIVATIONS))
    if "llm" in context.settings.verification.judges:
        scores, cases = read(tables.CONCEPT_SCORES), read(tables.VERIFICATION_CASES)
        refused = read(tables.VERIFICATION_REJECTS)
        metrics |= llm_metrics(scores, cases, refused, context.settings.verification)
    return metrics


if __name__ == "__main__":
    main(__file__)
