"""Measure coverage, coherence, distinctiveness and chance levels: of the SAE, its shuffled labels, and both baselines.

spark-submit --properties-file conf/spark/local.conf jobs/measure_coverage.py --dt 2026-11-20
recsae run measure_coverage --dt 2026-11-20

The shuffled labels are the SAE's latents as the terms of other latents judged them (verify_concepts). The baselines (a
randomly initialised SAE, and the raw dimensions with each sign a unit) go through the same evidence, terms, cases and
judge as the SAE. All kinds are compared by the term scorer; of judge llm the metrics of the SAE begin with llm_.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.association import NAMED_BY_CHANCE
from recsae_lib.concepts.coherence import coherence_metrics
from recsae_lib.concepts.coverage import concept_coverage
from recsae_lib.concepts.linking import linked_items
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.encoding import ENCODED_COLUMNS, dimension_batches, encode_batches
from recsae_lib.sae.store import load_sae
from recsae_lib.verification.agreement import judge_agreement
from recsae_lib.verification.sample_size import cases_of_each_kind
from recsae_lib.verification.scores import expected_by_chance
from recsae_lib.verification.shuffled_labels import shuffled_terms
from recsae_lib.verification.units import Units, judge_baseline, release

Metrics = dict[tuple[UnitKind, str], float | None]


@for_each_site
def run(context: JobContext) -> None:
    """Measure all kinds of units side by side; write concept_coverage, then audit_metrics."""
    warehouse, settings = context.warehouse, context.settings
    items = warehouse.read_filled(tables.ITEMS).cache()
    last = RepresentationSet.of_context(context, "last")
    representations = context.spark.read.parquet(last.require()).select("user_id", "representation")
    embeddings = context.spark.read.parquet(last.item_embeddings())

    def measure(units_of: Callable[[], Units]) -> tuple[DataFrame, Metrics]:
        units = units_of()
        rows = concept_coverage(
            units.scores,
            units.concept_terms,
            units.latent_items,
            units.activations,
            items,
            settings.coverage,
            settings.verification,
        )
        measured = verdict_metrics(units.scores, context)
        if units.kind != UnitKind.SHUFFLED:  # whatever its label, a latent has the same users and items
            measured.update(association_metrics(units.scores))
            measured.update(
                coherence_metrics(
                    units.activations,
                    units.latent_items,
                    representations,
                    embeddings,
                    items,
                    settings.terms,
                    settings.coverage.coherence_cases,
                )
            )
        log.info(
            "measure_coverage: %s: %.0f live units, %.0f interpretable, %.2f expected by chance",
            units.kind,
            *(
                measured[f"{name}"]
                for name in ("live_units", "interpretable_units", "interpretable_units_expected_by_chance")
            ),
        )
        release(units)
        return rows.withColumn("unit_kind", F.lit(units.kind.value)), {
            (units.kind, n): value for n, value in measured.items()
        }

    coverage, measured = zip(*side_by_side(measure, all_units(context, representations, items)), strict=True)
    recorded = {**recorded_metrics(context), **data_metrics(context), **llm_metrics(context)}
    metrics = {**recorded, **reduce(operator.or_, measured)}
    warehouse.replace(tables.CONCEPT_COVERAGE, reduce(DataFrame.unionByName, coverage))
    rows = [(kind.value, name, value) for (kind, name), value in sorted(metrics.items())]
    values = local_frame(context.spark, rows, "unit_kind string, metric string, value double")
    warehouse.replace(tables.AUDIT_METRICS, values)


def all_units(context: JobContext, representations: DataFrame, items: DataFrame) -> list[Callable[[], Units]]:
    """Return what makes the units of each kind: the SAE's latents as they stand in the tables, with their own terms and
    with those of others, and both baselines.
    """
    warehouse, settings, spark = context.warehouse, context.settings, context.spark
    activations, latent_items = warehouse.read_filled(tables.LATENT_ACTIVATIONS), warehouse.read(tables.LATENT_ITEMS)
    terms, shuffled = warehouse.read(tables.CONCEPT_TERMS), warehouse.read(tables.SHUFFLED_SCORES)
    linked = linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence)
    initial = context.registry.fetch(context.sae_name, context.sae_version) / "initial"
    sae = load_sae(initial)

    def latents() -> Units:
        scores = warehouse.read(tables.CONCEPT_SCORES).where("judge = 'terms'")
        return Units(UnitKind.SAE, activations, latent_items, terms, scores)

    def with_terms_of_others() -> Units:
        return Units(UnitKind.SHUFFLED, activations, latent_items, shuffled_terms(terms, shuffled), shuffled)

    def untrained() -> Units:
        encoded = representations.mapInArrow(encode_batches(ship_folder(spark, initial)), ENCODED_COLUMNS)
        return judge_baseline(UnitKind.UNTRAINED, encoded, linked, items, settings)

    def dimensions() -> Units:
        means, deviations = moments(representations, sae.dimension)
        encoded = representations.mapInArrow(dimension_batches(means, deviations, sae.k), ENCODED_COLUMNS)
        return judge_baseline(UnitKind.DIMENSION, encoded, linked, items, settings)

    return [latents, with_terms_of_others, untrained, dimensions]


def moments(representations: DataFrame, dimension: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each dimension of x over all users."""
    columns = [F.element_at("representation", index + 1).cast("double") for index in range(dimension)]
    row = representations.agg(*[F.avg(c) for c in columns], *[F.stddev_pop(c) for c in columns]).first()
    values = [float(value) for value in row]
    return values[:dimension], values[dimension:]


def verdict_metrics(scores: DataFrame, context: JobContext) -> dict[str, float | None]:
    """Live, judged and interpretable units, beside the number that a coin as judge would let pass, and how the
    confidences are spread: the tenth, half and nine tenths of the judged units have at most confidence_p10, p50, p90.
    """
    rows: pd.DataFrame = scores.select("cases", "interpretable", "confidence").toPandas()  # M rows
    wanted = 2 * cases_of_each_kind(context.settings.verification)
    confidences = rows["confidence"].dropna()
    spread = confidences.quantile([0.1, 0.5, 0.9], interpolation="lower") if len(confidences) else None
    return {
        "live_units": float(len(rows)),
        "judged_units": float((rows["cases"] > 0).sum()),
        "fully_judged_units": float((rows["cases"] == wanted).sum()),
        "interpretable_units": float(rows["interpretable"].sum()),
        "interpretable_units_expected_by_chance": expected_by_chance(rows["cases"], context.settings.verification),
        "mean_confidence": mean(confidences),
        **{f"confidence_p{q * 100:.0f}": None if spread is None else float(spread[q]) for q in (0.1, 0.5, 0.9)},
    }


def association_metrics(scores: DataFrame) -> dict[str, float | None]:
    """Units that tell an item feature apart, beside the number that would get a best feature by chance."""
    columns = ("best_feature", "best_feature_auc", "best_feature_p_value")
    rows: pd.DataFrame = scores.select(*columns).toPandas()  # M rows
    return {
        "best_feature_units": float(rows["best_feature"].notna().sum()),
        "best_feature_units_expected_by_chance": NAMED_BY_CHANCE * float(rows["best_feature_p_value"].notna().sum()),
        "mean_best_feature_auc": mean(rows["best_feature_auc"].dropna()),
    }


def llm_metrics(context: JobContext) -> Metrics:
    """What judge llm says of the SAE's latents, and how far it agrees with the term scorer; nothing without it."""
    if "llm" not in context.settings.verification.judges:
        return {}
    scores = context.warehouse.read(tables.CONCEPT_SCORES)
    by_llm = verdict_metrics(scores.where("judge = 'llm'"), context)
    measured = {
        **{f"llm_{name}": value for name, value in by_llm.items()},
        **judge_agreement(context.warehouse.read(tables.VERIFICATION_CASES), scores),
        "llm_refused_answers": float(context.warehouse.read(tables.VERIFICATION_REJECTS).count()),
    }
    return {(UnitKind.SAE, name): value for name, value in measured.items()}


def mean(values: pd.Series) -> float | None:
    """Mean that does not hang on the order of the rows, by an exact sum; None of nothing."""
    return math.fsum(values) / len(values) if len(values) else None


def recorded_metrics(context: JobContext) -> Metrics:
    """What the two training jobs measured and wrote to MLflow."""
    metrics: Metrics = {}
    for name, value in context.registry.metrics(context.recommender_name, context.model_version).items():
        if name.startswith("test_"):
            metrics[UnitKind.RECOMMENDER, name.removeprefix("test_")] = value
        for baseline in (UnitKind.POPULARITY, UnitKind.ITEM_KNN):
            if name.startswith(f"{baseline}_"):
                metrics[baseline, name.removeprefix(f"{baseline}_")] = value
    for name, value in context.registry.metrics(context.sae_name, context.sae_version).items():
        if name.startswith("reconstructed_"):
            metrics[UnitKind.RECONSTRUCTED, name.removeprefix("reconstructed_")] = value
        elif not name.startswith(("original_", "epoch_")):
            metrics[UnitKind.SAE, name] = value
    return metrics


def data_metrics(context: JobContext) -> Metrics:
    """Share of raw rows that ingestion refused."""
    read = context.warehouse.read
    rejected = read(tables.REJECTS).count()
    accepted = read(tables.INTERACTIONS).count() + read(tables.ITEMS).count()
    return {(UnitKind.SAE, "reject_share"): rejected / max(rejected + accepted, 1)}


if __name__ == "__main__":
    main(__file__)
