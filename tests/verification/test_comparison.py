"""The audited SAE beside other dictionaries: what is of which kind, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.config import Settings
from recsae_lib.platform.warehouse.tables import CONCEPT_COVERAGE, UnitKind
from recsae_lib.sae.dictionaries import Dictionary
from recsae_lib.verification.blocks import BLOCK_COLUMNS
from recsae_lib.verification.comparison import (
    Audited,
    compare_dictionaries,
    coverage_of_kinds,
    first_of_each_kind,
    frequent_features,
)
from recsae_lib.verification.scores import SCORE_COLUMNS, UNIT_COLUMNS, VERDICT_COLUMNS, as_rows, names_of
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.units import Baselines
from recsae_lib.verification.verdicts import Verdicts

SETTINGS = Settings.model_validate({"coverage": {"confidences": [0.8], "minimum_document_frequency": 1}})
NOWHERE = Path()
EVIDENCE = "latent_id int, item_id string, rank int"
TERMS = "latent_id int, term string, kind string, significant boolean"
ITEMS = [("i1", ["war"]), ("i2", ["war", "sea"]), ("i3", ["space"]), ("i4", ["space"])]


def judged(confidences: dict[int, float]) -> pd.DataFrame:
    """Units as the blocks judge them: 400 users of equal weight each."""
    known = dict.fromkeys([*names_of(BLOCK_COLUMNS.split(", cases_drawn")[0]), *names_of(UNIT_COLUMNS)], float("nan"))
    rows = [{**known, "latent_id": unit, "confidence": value} for unit, value in confidences.items()]
    return pd.DataFrame(rows).assign(cases=400, effective_cases=400.0)


def baselines(spark: SparkSession) -> Baselines:
    """A replica that names space, dimensions that name war, and other dimensions, which are not compared."""
    replica, first, second = (first_id(number) for number in (1, 2, 3))
    make = spark.createDataFrame
    return Baselines(
        [Dictionary(UnitKind.SAE, 1, NOWHERE), *(Dictionary(UnitKind.DIMENSION, n, NOWHERE) for n in (1, 2))],
        make(
            [("a", [replica, first + 1], [1.0, 1.0]), ("b", [first + 1], [2.0]), ("c", [first, second], [1.0, 1.0])],
            "user_id string, latent_ids array<int>, activations array<float>",
        ),
        make([(replica, "i3", 1), (first + 1, "i1", 1), (first, "i2", 1)], EVIDENCE),
        make(
            [(replica, "space", "feature", True), (first + 1, "war", "feature", True), (first, "sea", "feature", True)],
            TERMS,
        ),
        Verdicts(make([], BLOCK_COLUMNS), judged({replica: 0.9, first: 0.5, first + 1: 0.9, second: 0.9}), None),
        {1: 1, 2: 2, 3: 1},
    )


def audited(spark: SparkSession) -> Audited:
    """Unit 0 is about war and unit 1 about space; as 1 is judged by the terms of 0, it still seems right."""
    make = spark.createDataFrame
    columns = "latent_id int, confidence double, q_value double, effective_cases double"
    return Audited(
        make(
            [("a", [0, 1], [1.0, 1.0]), ("b", [1], [2.0]), ("c", [], [])],
            "user_id string, latent_ids array<int>, activations array<float>",
        ),
        make([(0, "i1", 1), (1, "i3", 1), (1, "i4", 2)], EVIDENCE),
        make([(0, "war", "feature", True), (1, "space", "feature", True)], TERMS),
        make([(0, 0.9, 0.01, 400.0), (1, 0.7, 0.01, 400.0)], columns),
        make([(0, 0.4, 1.0, 400.0, 1), (1, 0.85, 0.01, 400.0, 0)], f"{columns}, label_of int"),
    )


def catalogue(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ITEMS, "item_id string, features array<string>")


def test_coverage_says_of_which_units_it_is(spark: SparkSession) -> None:
    coverage = coverage_of_kinds(audited(spark), baselines(spark), catalogue(spark), SETTINGS)
    assert sorted(coverage.columns) == sorted(CONCEPT_COVERAGE.row_schema.names)
    rows = {row["unit_kind"]: row for row in coverage.collect()}
    reached = {
        kind: (row["units"], *(row[f"{of}_coverage"] for of in ("feature", "item", "user")))
        for kind, row in rows.items()
    }
    third = pytest.approx(1 / 3)
    assert reached == {
        "sae": (1, third, 0.25, third),  # unit 0: war, i1, user a
        "shuffled": (1, third, 0.5, pytest.approx(2 / 3)),  # unit 1 with the name of unit 0: war; i3, i4; a, b
        "dimension": (1, third, 0.25, pytest.approx(2 / 3)),  # of the first ones: war, i1; a, b
    }


def test_a_kind_of_which_some_units_were_judged_is_left_out(spark: SparkSession) -> None:
    drawn = replace(baselines(spark), live={1: 1, 2: 3, 3: 1})
    coverage = coverage_of_kinds(audited(spark), drawn, catalogue(spark), SETTINGS)
    assert {row["unit_kind"] for row in coverage.collect()} == {"sae", "shuffled"}


def test_dictionaries_are_measured_and_kinds_over_their_seeds(spark: SparkSession) -> None:
    scores = Verdicts(catalogue(spark), judged({0: 0.9, 1: 0.7}), None).scores(SETTINGS)
    shuffled = scores[names_of(VERDICT_COLUMNS)].assign(label_of=[1, 0])
    of_audited = replace(
        audited(spark),
        scores=as_rows(spark, scores, SCORE_COLUMNS),
        shuffled_scores=as_rows(spark, shuffled, f"{VERDICT_COLUMNS}, label_of int"),
    )
    vectors = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 1.0]]
    users = spark.createDataFrame(
        list(zip("abc", vectors, strict=False)), "user_id string, representation array<float>"
    )
    embeddings = [(item, vector) for (item, _), vector in zip(ITEMS, vectors, strict=True)]
    items = catalogue(spark).selectExpr("*", "'' AS title", "'' AS text")
    metrics = compare_dictionaries(
        of_audited,
        baselines(spark),
        {(UnitKind.SAE, 0): {"fvu": 0.25, "ndcg@10_kept": 0.5}, (UnitKind.SAE, 1): {"fvu": 0.75}},
        Surroundings(users, users, items, users, None),
        spark.createDataFrame(embeddings, "item_id string, embedding array<float>"),
        SETTINGS,
    )
    counted = ("seeds", "live_units", "interpretable_units", "interpretable_units_mean")
    found = {kind: [metrics.get((kind, name)) for name in counted] for kind in (UnitKind.SAE, UnitKind.DIMENSION)}
    assert found == {UnitKind.SAE: [2.0, 2.0, 1.0, 1.0], UnitKind.DIMENSION: [2.0, 2.0, 1.0, 1.0]}
    assert (metrics[UnitKind.SHUFFLED, "live_units"], metrics[UnitKind.SHUFFLED, "interpretable_units"]) == (2.0, 1.0)
    figures = ("fvu", "fvu_mean", "ndcg_at_10_kept", "feature_coverage_of_confirmed")
    assert [metrics[UnitKind.SAE, name] for name in figures] == [0.25, 0.5, 0.5, None]  # no feature of 5 items
    # Latent 1 has two users, whose vectors have a cosine of .6, and two items of one vector; latent 0 has one each.
    assert metrics[UnitKind.SAE, "coherence_representation"] == pytest.approx(0.6)
    assert metrics[UnitKind.SAE, "coherence_item_embedding"] == pytest.approx(1.0)
    assert {kind for kind, name in metrics if name == "coherence_representation"} == {UnitKind.SAE, UnitKind.DIMENSION}


def test_each_kind_is_compared_by_its_first(spark: SparkSession) -> None:
    assert first_of_each_kind(baselines(spark)) == {2: UnitKind.DIMENSION}


def test_frequent_features_by_hand(spark: SparkSession) -> None:
    # 50 items carry war, 49 of them space, 5 sea, 4 rare.
    carried = [["war", "war", *(["space"] * (n < 49)), *(["sea"] * (n < 5)), *(["rare"] * (n < 4))] for n in range(50)]
    items = spark.createDataFrame(list(enumerate(carried)), "item_id int, features array<string>")
    named = [(1, "war", "feature", True), (2, "sea", "feature", True), (2, "rare", "feature", True)]
    named += [(1, "space", "feature", False), (1, "space", "word", True), (first_id(1), "war", "feature", True)]
    features, frequent = frequent_features(items, spark.createDataFrame(named, TERMS))
    assert sorted(features.itertuples(index=False, name=None)) == [
        (1, "war", 50),
        (2, "sea", 5),
        (first_id(1), "war", 50),
    ]
    assert frequent == {5: 3, 50: 1}
