"""Concept coverage: what share of item features, items and users the interpretable units reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.stats import hypergeom

from recsae_lib.concepts.chance import units_by_chance
from recsae_lib.concepts.dictionaries import PLACE_BITS, dictionary_of, first_id
from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.config import CoverageSettings, VerificationSettings
from recsae_lib.platform.spark.frames import local_frame

COVERAGE_COLUMNS = (
    "dictionary int, min_confidence double, feature_coverage double, item_coverage double, user_coverage double, "
    "shuffled_feature_coverage double, units bigint, units_expected_by_chance double, "
    "derived_feature_coverage double"
)
# So many features, items or users (`number`) have a best unit of this step, and so many units in all.
TALLY_COLUMNS = "dictionary int, what string, step int, units bigint, number bigint"


def concept_coverage(
    scores: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    activations: DataFrame,
    items: DataFrame,
    coverage: CoverageSettings,
    verification: VerificationSettings,
) -> DataFrame:
    """Measure what the units of each dictionary cover at each confidence of the settings (METHOD.md section 7).

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
    scores : (latent_id, confidence, q_value, effective_cases), one row a live unit. A null confidence never counts.
    concept_terms : (latent_id, term, kind, significant).
    latent_items : (latent_id, item_id).
    activations : (user_id, latent_ids ARRAY<INT>), one row a user.
    items : (item_id, features ARRAY<STRING>, maybe derived_features), the catalogue.
    coverage : `confidences` and `minimum_document_frequency` are read.
    verification : `significance` is read.

    Returns
    -------
    DataFrame : `COVERAGE_COLUMNS`, one row a dictionary with live units and a confidence; coverage is 0 where no unit
        counts.
    """
    spark = scores.sparkSession
    units: pd.DataFrame = scores.select("latent_id", "confidence", "q_value", "effective_cases").toPandas()
    if units.empty:
        return spark.createDataFrame([], COVERAGE_COLUMNS)
    ids, confidences = units["latent_id"].to_numpy(np.int64), np.array(sorted(set(coverage.confidences)))
    passed = (units["q_value"] < verification.significance).to_numpy()
    steps = _steps(units["confidence"].to_numpy(dtype=float), passed, confidences)
    step_of_unit = spark.createDataFrame(pd.DataFrame({"latent_id": ids, "step": steps}), "latent_id int, step int")
    dictionaries = np.unique(ids >> PLACE_BITS)
    numbers = F.explode(F.array(*(F.lit(int(number)) for number in dictionaries))).alias("dictionary")
    tally: pd.DataFrame = (
        _tally_features("feature", F.col("features"), items, concept_terms, step_of_unit, coverage, numbers)
        .unionByName(
            _tally_features("derived", derived_features(items), items, concept_terms, step_of_unit, coverage, numbers)
        )
        .unionByName(_tally_items(items, latent_items, step_of_unit, numbers))
        .unionByName(_tally_users(activations, StepOfUnit.of(ids, steps)))
        .toPandas()  # counts by dictionary, step and number of units, and for users by task
    )
    kinds = ("feature", "derived", "item", "user")
    rows = []
    for dictionary in dictionaries.tolist():
        of_it, own = tally[tally["dictionary"] == dictionary], ids >> PLACE_BITS == dictionary
        features, derived, linked, users = (of_it[of_it["what"] == what] for what in kinds)
        units_by_cases = units["effective_cases"][own].fillna(0).astype(int).value_counts().to_dict()
        p_value_below = verification.significance * max(passed[own].sum(), 1) / max(own.sum(), 1)
        for step, confidence in enumerate(confidences.tolist(), start=1):
            counted = int((steps[own] >= step).sum())
            rows.append(
                (
                    dictionary,
                    confidence,
                    _share(features, features["step"] >= step),
                    _share(linked, linked["step"] >= step),
                    _share(users, users["step"] >= step),
                    _share(features, _shuffled_chance(features["units"].to_numpy(), counted, int(own.sum()))),
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


class StepOfUnit(NamedTuple):
    """Steps of units, looked up by id.

    Parameters
    ----------
    dictionaries : (D,) their numbers, rising.
    steps : (D, units) 0 of a unit without a score.
    """

    dictionaries: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, steps: np.ndarray) -> StepOfUnit:
        """Make the table of the steps of some ids."""
        dictionaries, row = np.unique(ids >> PLACE_BITS, return_inverse=True)
        unit = ids & (first_id(1) - 1)
        table = np.zeros((len(dictionaries), unit.max(initial=-1) + 2), dtype=np.int32)
        table[row, unit] = steps
        return cls(dictionaries, table)

    def look_up(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of the dictionary, and step, of each id; both 0 of units without a score."""
        row = np.minimum(np.searchsorted(self.dictionaries, ids >> PLACE_BITS), len(self.dictionaries) - 1)
        known = self.dictionaries[row] == ids >> PLACE_BITS
        unit = np.minimum(ids & (first_id(1) - 1), self.steps.shape[1] - 1)
        return np.where(known, row, 0), np.where(known, self.steps[row, unit], 0)


def _tally_features(
    kind: str,
    features: Column,
    items: DataFrame,
    concept_terms: DataFrame,
    step_of_unit: DataFrame,
    coverage: CoverageSettings,
    dictionaries: Column,
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
        .groupBy(dictionary_of().alias("dictionary"), "term")
        .agg(F.max("step").alias("step"), F.count(F.lit(1)).alias("units"))
    )
    every = frequent.select("term", dictionaries)
    return _tally(kind, every.join(named, ["dictionary", "term"], "left"))


def _tally_items(items: DataFrame, latent_items: DataFrame, step_of_unit: DataFrame, dictionaries: Column) -> DataFrame:
    linked = (
        latent_items.join(F.broadcast(step_of_unit.where("step > 0")), "latent_id", "inner")
        .groupBy(dictionary_of().alias("dictionary"), "item_id")
        .agg(F.max("step").alias("step"), F.count(F.lit(1)).alias("units"))
    )
    every = items.select("item_id", dictionaries)
    return _tally("item", every.join(linked, ["dictionary", "item_id"], "left"))


def _tally(what: str, rows: DataFrame) -> DataFrame:
    return (
        rows.groupBy("dictionary", *(F.coalesce(name, F.lit(0)).alias(name) for name in ("step", "units")))
        .agg(F.count(F.lit(1)).alias("number"))
        .select("dictionary", F.lit(what).alias("what"), "step", F.col("units").cast("bigint").alias("units"), "number")
    )


def _tally_users(activations: DataFrame, step_of_unit: StepOfUnit) -> DataFrame:
    """Count the users by the highest step among the units that fire: a table look-up in Arrow, without a shuffle."""
    dictionaries, largest = step_of_unit.dictionaries, int(step_of_unit.steps.max(initial=0))

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbers = np.zeros((len(dictionaries), largest + 1), dtype=np.int64)
        for batch in batches:
            highest = _highest_steps(batch.column(0), step_of_unit)
            for row, steps in enumerate(highest):
                numbers[row] += np.bincount(steps, minlength=largest + 1)
        steps = np.tile(np.arange(largest + 1, dtype=np.int32), len(dictionaries))
        columns = {
            "dictionary": np.repeat(dictionaries.astype(np.int32), largest + 1),
            "what": ["user"] * len(steps),
            "step": steps,
            "units": np.zeros(len(steps), dtype=np.int64),
            "number": numbers.ravel(),
        }
        yield pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})

    return activations.select("latent_ids").mapInArrow(count, TALLY_COLUMNS)


def _highest_steps(latent_ids: pa.ListArray, step_of_unit: StepOfUnit) -> np.ndarray:
    """(dictionaries, users) the highest step among the units of each dictionary that fire."""
    ids = latent_ids.flatten().to_numpy().astype(np.int64)
    users = np.repeat(np.arange(len(latent_ids)), np.diff(latent_ids.offsets.to_numpy()))
    highest = np.zeros((len(step_of_unit.dictionaries), len(latent_ids)), dtype=np.int32)
    row, steps = step_of_unit.look_up(ids)
    np.maximum.at(highest, (row, users), steps)
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
