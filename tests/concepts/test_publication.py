"""The concepts table: reach counted over all users, one row a live latent, the language model's verdict first."""

from __future__ import annotations

import pandas as pd
import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from recsae_lib.concepts.publication import build_concepts, latent_reach
from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.schemas import discrepancies
from recsae_lib.platform.warehouse.tables import CONCEPT_LABELS, CONCEPT_SCORES, CONCEPTS, LATENT_EFFECTS, Table
from recsae_lib.verification.agreement import interpretable_by_both
from recsae_lib.verification.scores import is_confirmed

ACTIVATIONS = "user_id string, latent_ids array<int>, activations array<float>"
LABEL = {
    "dt": None,
    "sae_version": 3,
    "label": "space",
    "description": "Users who like space.",
    "features": ["Sci-Fi"],
    "interpreter": "terms",
    "llm_model": None,
    "prompt_version": None,
    "request_id": None,
    "status": "labelled",
}
SCORE = {
    "dt": None,
    "sae_version": 3,
    "judge": "terms",
    "confidence": 0.9,
    "confidence_low": 0.7,
    "confidence_high": 0.97,
    "recall": 0.8,
    "specificity": 1.0,
    "hard_specificity": 0.9,
    "precision": 1.0,
    "auc": 0.97,
    "hard_auc": 0.93,
    "cases": 20,
    "effective_cases": 18.5,
    "p_value": 0.001,
    "q_value": 0.01,
    "interpretable": True,
    "best_feature": "Sci-Fi",
    "best_feature_auc": 0.7,
    "best_feature_null_auc": 0.6,
    "best_feature_p_value": 0.01,
    "removal_effect": 0.5,
    "removal_low": 0.4,
    "removal_high": 0.6,
    "removal_other": 0.1,
    "removal_equal_dose": 0.3,
    "removal_p_value": 0.001,
    "removal_users": 30,
    "found_again": 0.8,
    "found_again_id": 41,
    "llm_model": None,
    "prompt_version": None,
}

EFFECT = {
    "dt": None,
    "sae_version": 3,
    "kind": "feature",
    "item_id": None,
    "feature": "Sci-Fi",
    "effect": 0.3,
    "output_score": 1.5,
    "p_value": 0.001,
    "q_value": 0.01,
    "items": 30,
    "rank": 1,
}
# Only latent 2 pushes a feature up more than luck does; what is pushed less, down, or no item feature is none.
EFFECTS = [
    {"latent_id": 2},
    {"latent_id": 2, "feature": "War", "output_score": 1.2, "rank": 2},
    {"latent_id": 2, "feature": "1990s", "kind": "derived", "output_score": 2.0},
    {"latent_id": 2, "feature": None, "kind": "item", "item_id": "i", "output_score": None, "q_value": None},
    {"latent_id": 5, "q_value": 0.05},
    {"latent_id": 7, "output_score": -1.0},
    {"latent_id": 7, "output_score": -1.5, "rank": -1},
]

NO_AUC = {"auc": None, "hard_auc": None}
SETTINGS = VerificationSettings()


def activations(spark: SparkSession) -> DataFrame:
    rows = [("a", [5, 2], [3.0, 1.0]), ("b", [5], [1.0]), ("c", [], []), ("d", [7], [0.5])]
    return spark.createDataFrame(rows, ACTIVATIONS)


def rows_in(spark: SparkSession, table: Table, base: dict, rows: list[dict]) -> DataFrame:
    columns = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in table.schema)
    return spark.createDataFrame([tuple({**base, **row}[name] for name in table.schema.names) for row in rows], columns)


def concepts_of(spark: SparkSession, labels: list[dict], scores: list[dict]) -> dict[int, Row]:
    twins = spark.createDataFrame([(5, 2), (99, 7)], "latent_id int, same_as int")
    marks = [(2, "title", 0.001), (7, None, 0.5)]
    artefacts = spark.createDataFrame(marks, "latent_id int, artefact string, artefact_p_value double")
    described = (
        rows_in(spark, CONCEPT_LABELS, LABEL, labels),
        rows_in(spark, CONCEPT_SCORES, SCORE, scores),
    )
    effects = rows_in(spark, LATENT_EFFECTS, EFFECT, EFFECTS)
    concepts = build_concepts(activations(spark), *described, twins, artefacts, effects, SETTINGS)
    assert discrepancies(CONCEPTS.schema, concepts.schema) == [
        f"column {name} is missing" for name in ("dt", "sae_version")
    ]
    rows = concepts.collect()
    assert len({row["latent_id"] for row in rows}) == len(rows)
    return {row["latent_id"]: row for row in rows}


def test_reach_counts_silent_users_in_the_density(spark: SparkSession) -> None:
    assert sorted(map(tuple, latent_reach(activations(spark)).collect())) == [
        (2, 1, 0.25, 1.0),
        (5, 2, 0.5, 2.0),
        (7, 1, 0.25, 0.5),
    ]


def test_every_live_latent_and_no_other_has_one_row(spark: SparkSession) -> None:
    concepts = concepts_of(
        spark,
        [{"latent_id": 2}, {"latent_id": 5, "label": "war"}, {"latent_id": 7}, {"latent_id": 99}],
        [{"latent_id": 2}, {"latent_id": 5, "confidence": 0.5, "interpretable": False}, {"latent_id": 99}],
    )
    assert sorted(concepts) == [2, 5, 7]
    assert concepts[2].asDict() == {
        "latent_id": 2,
        "label": "space",
        "description": "Users who like space.",
        "features": ["Sci-Fi"],
        "interpreter": "terms",
        "status": "labelled",
        "judge": "terms",
        "confidence": 0.9,
        "confidence_low": 0.7,
        "confidence_high": 0.97,
        "q_value": 0.01,
        "interpretable": True,
        "best_feature": "Sci-Fi",
        "best_feature_auc": 0.7,
        "active_users": 1,
        "density": 0.25,
        "mean_activation": pytest.approx(1.0),
        "auc": 0.97,
        "hard_auc": 0.93,
        "removal_effect": 0.5,
        "removal_low": 0.4,
        "removal_high": 0.6,
        "removal_other": 0.1,
        "removal_p_value": 0.001,
        "found_again": 0.8,
        "found_again_id": 41,
        "confirmed": True,
        "same_as": None,
        "artefact": "title",
        "artefact_p_value": 0.001,
        "output_feature": "Sci-Fi",
        "output_score": 1.5,
    }
    assert {concepts[latent]["output_feature"] for latent in (5, 7)} == {None}
    assert (concepts[5]["same_as"], concepts[5]["artefact"], concepts[5]["artefact_p_value"]) == (2, None, None)
    assert (concepts[7]["same_as"], concepts[7]["artefact"], concepts[7]["artefact_p_value"]) == (None, None, 0.5)
    assert (concepts[5]["label"], concepts[5]["interpretable"]) == ("war", False)
    assert (concepts[7]["judge"], concepts[7]["confidence"], concepts[7]["interpretable"]) == (None, None, False)


def test_verdict_of_the_language_model_goes_first(spark: SparkSession) -> None:
    by_model = {"judge": "llm", "confidence": 0.55, "q_value": 0.4, "interpretable": False, **NO_AUC}
    scores = [{"latent_id": 2}, {"latent_id": 2, **by_model}, {"latent_id": 5}]
    concepts = concepts_of(spark, [{"latent_id": latent} for latent in (2, 5, 7)], scores)
    assert (concepts[2]["judge"], concepts[2]["confidence"], concepts[2]["interpretable"]) == ("llm", 0.55, False)
    assert (concepts[5]["judge"], concepts[5]["interpretable"]) == ("terms", True)
    assert {concepts[latent]["auc"] for latent in (2, 5)} == {0.97}  # the term scorer's
    assert {latent: concepts[latent]["confirmed"] for latent in concepts} == {2: False, 5: True, 7: False}


def test_interpretable_is_what_both_judges_find_so(spark: SparkSession) -> None:
    said = {2: (True, True), 5: (False, True), 7: (True, False)}
    scores = [
        {"latent_id": latent, "judge": judge, "interpretable": verdict}
        for latent, verdicts in said.items()
        for judge, verdict in zip(("terms", "llm"), verdicts, strict=True)
    ]
    concepts = concepts_of(spark, [{"latent_id": latent} for latent in said], scores)
    assert {latent: row["interpretable"] for latent, row in concepts.items()} == {2: True, 5: False, 7: False}
    assert {latent: row["confirmed"] for latent, row in concepts.items()} == {2: True, 5: False, 7: False}
    assert {row["judge"] for row in concepts.values()} == {"llm"}
    assert sum(row["interpretable"] for row in concepts.values()) == interpretable_by_both(
        rows_in(spark, CONCEPT_SCORES, SCORE, scores)
    )


CONFIRMED = {
    "all": ({}, {}, True),
    "interpretable": ({}, {"interpretable": False}, False),
    "labelled": ({"status": "unlabelled"}, {}, False),
    "effect": ({}, {"removal_effect": 0.19}, False),
    "p-value": ({}, {"removal_p_value": 0.05}, False),
    "not measured": ({}, {"removal_effect": None, "removal_p_value": None}, False),
    "found": ({}, {"found_again": 0.69}, False),
    "not looked for": ({}, {"found_again": None}, False),
}


def test_confirmed_is_what_the_scores_module_says(spark: SparkSession) -> None:
    for names in (
        ["all", "interpretable", "labelled"],
        ["effect", "p-value", "not measured"],
        ["found", "not looked for"],
    ):
        cases = dict(zip((2, 5, 7), names, strict=False))
        labels = [{"latent_id": latent, **CONFIRMED[name][0]} for latent, name in cases.items()]
        scores = [{"latent_id": latent, **CONFIRMED[name][1]} for latent, name in cases.items()]
        concepts = concepts_of(spark, labels, scores)
        assert {name: concepts[latent]["confirmed"] for latent, name in cases.items()} == {
            name: CONFIRMED[name][2] for name in names
        }
        expected = is_confirmed(pd.DataFrame([concepts[latent].asDict() for latent in cases]), SETTINGS)
        assert [concepts[latent]["confirmed"] for latent in cases] == expected.tolist()
