"""Concept coverage: what share of item features, items and users the interpretable units reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.stats import hypergeom

from recsae_lib.concepts.chance import units_by_chance
from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.config import CoverageSettings, VerificationSettings
from recsae_lib.platform.spark.frames import local_frame

COVERAGE_COLUMNS = (
    "min_confidence double, feature_coverage double, item_coverage double, user_coverage double, "
    "shuffled_feature_coverage double, units bigint, units_expected_by_chance double, derived_feature_coverage double"
)
# So many features, items or users (`number`) have a best unit of this step, and so many units in all.
TALLY_COLUMNS = "what string, step int, units bigint, number bigint"


def concept_coverage(
    scores: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    activations: DataFrame,
    items: DataFrame,
    coverage: CoverageSettings,
    verification: VerificationSettings,
) -> DataFrame:
    """Measure what the units of one kind cover at each confidence of the settings (METHOD.md section 7).

    ::

        C = {l : confidence_l >= c and q_l < verification.significance}             the counted units
        feature_coverage = |{f in F : f is a significant term of a unit of C}| / |F|
            F = item features that at least `minimum_document_frequency` items of the catalogue carry
        derived_feature_coverage : the same of derived features, which are none of F
        item_coverage = |{i : i is linked to a unit of C}| / |items|
        user_coverage = |{u : a unit of C fires for u}| / |users|
        shuffled_feature_coverage = Σ_f (1 − binom(U − m_f, |C|) / binom(U, |C|)) / |F|
            U = number of units, m_f = how many of them have f as a significant term

    The shuffled figure is the mean of feature_coverage over all ways to shuffle the term sets among the units, in
    closed form instead of by drawing some of them (ours). The units expected by chance are those of `units_by_chance`
    with the p-value that the units had to undercut for their q-value: a coin has to pass both limits as well, and the
    figure stays below `significance` times the larger of 1 and the units with such a q-value.

    A unit is linked to the items that `latent_items` keeps of it, those of its largest evidence. Item coverage is thus
    the share of items in the first rows of some counted unit, and no more than |C| · `evidence.items_per_latent` items
    (ours): linked by any weight at all would be whatever was recommended to one of its users, which says little.

    The scores (M rows) and counts are collected, so the figures are computed before this returns. Activations and
    linked items are read once, whatever the number of confidences, and users are not shuffled.

    Parameters
    ----------
    scores : (latent_id, confidence, q_value, cases), one row a live unit. A null confidence never counts.
    concept_terms : (latent_id, term, kind, significant).
    latent_items : (latent_id, item_id).
    activations : (user_id, latent_ids ARRAY<INT>), one row a user.
    items : (item_id, features ARRAY<STRING>, maybe derived_features), the catalogue.
    coverage : `confidences` and `minimum_document_frequency` are read.
    verification : `significance` is read.

    Returns
    -------
    DataFrame : `COVERAGE_COLUMNS`, one row a confidence; coverage is 0 where no unit counts.
    """
    spark = scores.sparkSession
    units: pd.DataFrame = scores.select("latent_id", "confidence", "q_value", "cases").toPandas()
    confidences = np.array(sorted(set(coverage.confidences)))
    passed = (units["q_value"] < verification.significance).to_numpy()
    steps = _steps(units["confidence"].to_numpy(dtype=float), passed, confidences)
    step_of_unit = spark.createDataFrame(
        pd.DataFrame({"latent_id": units["latent_id"], "step": steps}), "latent_id int, step int"
    )
    tally: pd.DataFrame = (
        _tally_features("feature", F.col("features"), items, concept_terms, step_of_unit, coverage)
        .unionByName(_tally_features("derived", derived_features(items), items, concept_terms, step_of_unit, coverage))
        .unionByName(_tally_items(items, latent_items, step_of_unit))
        .unionByName(_tally_users(activations, _by_latent_id(units["latent_id"].to_numpy(), steps)))
        .toPandas()  # counts by step and number of units, and for users by task
    )
    kinds = ("feature", "derived", "item", "user")
    features, derived, linked, users = (tally[tally["what"] == what] for what in kinds)
    units_by_cases = units["cases"].value_counts().to_dict()
    p_value_below = verification.significance * max(passed.sum(), 1) / max(len(units), 1)
    rows = []
    for step, confidence in enumerate(confidences.tolist(), start=1):
        counted = int((steps >= step).sum())
        rows.append(
            (
                confidence,
                _share(features, features["step"] >= step),
                _share(linked, linked["step"] >= step),
                _share(users, users["step"] >= step),
                _share(features, _shuffled_chance(features["units"].to_numpy(), counted, len(units))),
                counted,
                units_by_chance(units_by_cases, confidence, p_value_below),
                _share(derived, derived["step"] >= step),
            )
        )
    return local_frame(spark, rows, COVERAGE_COLUMNS)


def _steps(confidence: np.ndarray, passed: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """At how many of the rising `confidences` a unit counts, which are then the lowest ones."""
    # A null confidence has become NaN, which is at least nothing.
    return (confidence[:, None] >= confidences).sum(axis=1, dtype=np.int32) * passed


def _by_latent_id(latent_ids: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Steps as an array over latent ids; its last element, 0, is for those without a score."""
    table = np.zeros(latent_ids.max(initial=-1) + 2, dtype=np.int32)
    table[latent_ids] = steps
    return table


def _tally_features(
    kind: str,
    features: Column,
    items: DataFrame,
    concept_terms: DataFrame,
    step_of_unit: DataFrame,
    coverage: CoverageSettings,
) -> DataFrame:
    """Count the features of one kind by the highest step among the units that have them as a significant term."""
    frequent = (
        items.select(F.explode(F.array_distinct(features)).alias("term"))
        .groupBy("term")
        .agg(F.count(F.lit(1)).alias("items"))
        .where(F.col("items") >= coverage.minimum_document_frequency)
    )
    named = (
        concept_terms.where((F.col("kind") == kind) & F.col("significant"))
        .join(F.broadcast(step_of_unit), "latent_id", "inner")
        .groupBy("term")
        .agg(F.max("step").alias("step"), F.count(F.lit(1)).alias("units"))
    )
    return _tally(kind, frequent.join(named, "term", "left"))


def _tally_items(items: DataFrame, latent_items: DataFrame, step_of_unit: DataFrame) -> DataFrame:
    linked = (
        latent_items.join(F.broadcast(step_of_unit.where("step > 0")), "latent_id", "inner")
        .groupBy("item_id")
        .agg(F.max("step").alias("step"), F.count(F.lit(1)).alias("units"))
    )
    return _tally("item", items.select("item_id").join(linked, "item_id", "left"))


def _tally(what: str, rows: DataFrame) -> DataFrame:
    return (
        rows.groupBy(*(F.coalesce(name, F.lit(0)).alias(name) for name in ("step", "units")))
        .agg(F.count(F.lit(1)).alias("number"))
        .select(F.lit(what).alias("what"), "step", F.col("units").cast("bigint").alias("units"), "number")
    )


def _tally_users(activations: DataFrame, step_by_latent_id: np.ndarray) -> DataFrame:
    """Count the users by the highest step among the units that fire: a table look-up in Arrow, without a shuffle."""

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbers = np.zeros(int(step_by_latent_id.max()) + 1, dtype=np.int64)
        for batch in batches:
            numbers += np.bincount(_highest_steps(batch.column(0), step_by_latent_id), minlength=len(numbers))
        yield pa.RecordBatch.from_pydict(
            {
                "what": pa.array(["user"] * len(numbers)),
                "step": pa.array(np.arange(len(numbers), dtype=np.int32)),
                "units": pa.array(np.zeros(len(numbers), dtype=np.int64)),
                "number": pa.array(numbers),
            }
        )

    return activations.select("latent_ids").mapInArrow(count, TALLY_COLUMNS)


def _highest_steps(latent_ids: pa.ListArray, step_by_latent_id: np.ndarray) -> np.ndarray:
    ids = latent_ids.flatten().to_numpy()
    steps = step_by_latent_id[np.minimum(ids, len(step_by_latent_id) - 1)]
    lengths = np.diff(latent_ids.offsets.to_numpy())
    highest = np.zeros(len(lengths), dtype=np.int32)
    some = np.flatnonzero(lengths)
    if len(some):
        highest[some] = np.maximum.reduceat(steps, (np.cumsum(lengths) - lengths)[some])
    return highest


def _share(rows: pd.DataFrame, covered: np.ndarray | pd.Series) -> float:
    """Mean of `covered`, weighted by the number of features, items or users that a row stands for; 0 without any."""
    whole = rows["number"].sum()
    return float((rows["number"] * covered).sum() / whole) if whole else 0.0


def _shuffled_chance(units: np.ndarray, counted: int, of_all: int) -> np.ndarray:
    """Chance that a random set of `counted` units out of `of_all` holds one of `units` given ones."""
    if counted == 0:
        return np.zeros(len(units))
    missed: np.ndarray = hypergeom.pmf(0, of_all, units, counted)
    return 1.0 - missed
