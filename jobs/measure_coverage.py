"""Measure coverage, coherence and distinctiveness of the SAE, and of every dictionary that it is compared with.

spark-submit --properties-file conf/spark/local.conf jobs/measure_coverage.py --dt 2026-11-20
recsae run measure_coverage --dt 2026-11-20

The shuffled labels are the SAE's latents as the terms of other latents judged them (verify_concepts). The dictionaries
that train_sae stored beside the SAE (replicas, untrained ones, clusters, random users, raw dimensions) go through the
same evidence, terms and judge as the SAE, all in one pass. All are compared by the term scorer; of judge llm the
metrics of the SAE begin with llm_.
"""

from __future__ import annotations

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.concurrency import both
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.left_out import left_out_metrics
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.dictionaries import dictionaries_of, figures_of
from recsae_lib.verification.comparison import Audited, compare_dictionaries, coverage_of_kinds
from recsae_lib.verification.metrics import Metrics, counts_line, llm_metrics, recorded_metrics, user_metrics
from recsae_lib.verification.surroundings import Surroundings, audited_dictionary
from recsae_lib.verification.units import judge_baselines


@for_each_site
def run(context: JobContext) -> None:
    """Judge the other dictionaries; write concept_coverage, then audit_metrics, of all kinds side by side."""
    warehouse, settings, read = context.warehouse, context.settings, context.warehouse.read
    around, dictionary = Surroundings.of_context(context), audited_dictionary(context)
    embeddings = context.spark.read.parquet(RepresentationSet.of_context(context, "last").item_embeddings())
    audited = Audited(
        warehouse.read_filled(tables.LATENT_ACTIVATIONS),
        read(tables.LATENT_ITEMS),
        read(tables.CONCEPT_TERMS),
        read(tables.CONCEPT_SCORES).where("judge = 'terms'"),
        read(tables.SHUFFLED_SCORES),
    )
    baselines = judge_baselines(dictionaries_of(dictionary.folder), dictionary, around, settings)
    figures = figures_of(dictionary.folder)
    (coverage, before), metrics = both(
        lambda: (coverage_of_kinds(audited, baselines, around.items, settings), measured_before(context)),
        lambda: compare_dictionaries(audited, baselines, figures, around, embeddings, settings),
    )
    for kind in tables.JUDGED_UNITS:
        log.info("measure_coverage: %s", counts_line(kind, metrics))
    warehouse.replace(tables.CONCEPT_COVERAGE, coverage)
    baselines.release()
    metrics |= before
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
