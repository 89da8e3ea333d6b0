from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from recsae_lib.config import DriftSettings
from recsae_lib.drift.changes import AuditedLatents
from recsae_lib.drift.comparison import compare_latents
from recsae_lib.platform.warehouse.tables import CONCEPT_DRIFT
from tests.publishing import publication

EARLIER = publication(date(2026, 11, 20), 4)


def audited(spark: SparkSession, fired: dict[str, dict[int, float]], *of_terms: tuple[Any, ...]) -> AuditedLatents:
    """Latents that have one label and, unless given, no terms, so that whoever is matched is stable."""
    rows = [(user, list(of_user), list(of_user.values())) for user, of_user in fired.items()]
    terms = "latent_id int, term string, kind string, tfidf double, significant boolean, rank int"
    return AuditedLatents(
        spark.createDataFrame(rows, "user_id string, latent_ids array<int>, activations array<float>"),
        spark.createDataFrame(of_terms, terms),
        spark.createDataFrame([], "latent_id int, label string"),
    )


def test_latents_are_matched_by_directions_or_by_activations(spark: SparkSession) -> None:
    previous = audited(spark, {"a": {0: 1.0}, "b": {0: 2.0}, "c": {1: 1.0}, "d": {1: 3.0}})
    # By activations latent 2 is the former 0 and 3 the former 1; by directions it is the other way round.
    present = audited(spark, {"a": {2: 1.0}, "b": {2: 2.0}, "c": {3: 1.0}, "d": {3: 3.0}})
    directions = np.eye(2, dtype=np.float32), np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    found = {}
    for given in (directions, None):
        changes = compare_latents(EARLIER, previous, present, given, DriftSettings())
        rows = changes.collect()
        assert sorted(changes.columns) == sorted(CONCEPT_DRIFT.row_schema.names)
        assert {(row["previous_dt"], row["previous_sae_version"], row["change"]) for row in rows} == {
            (date(2026, 11, 20), 4, "stable")
        }
        ((by,),) = {(row["similarity_by"],) for row in rows}
        found[by] = {row["previous_latent_id"]: row["latent_id"] for row in rows}
    assert found == {"decoder": {0: 3, 1: 2}, "activations": {0: 2, 1: 3}}


def test_derived_terms_are_no_drift_where_one_side_has_none(spark: SparkSession) -> None:
    fired, directions = {"a": {0: 1.0}}, (np.eye(1, dtype=np.float32), np.eye(1, dtype=np.float32))
    drama, high, low = (
        (0, term, kind, tfidf, True, rank)
        for term, kind, tfidf, rank in (
            ("Drama", "feature", 0.1, 2),
            ("popularity: high", "derived", 0.9, 1),
            ("popularity: low", "derived", 0.9, 1),
        )
    )
    for before, now, change, similarity in (
        ([drama], [high, drama], "stable", 1.0),  # the earlier release knew no derived features
        ([high, drama], [drama], "stable", 1.0),
        ([high, drama], [high, drama], "stable", 1.0),
        ([low, drama], [high, drama], "drifted", round(0.01 / 0.82, 6)),
    ):
        previous, present = audited(spark, fired, *before), audited(spark, fired, *now)
        (row,) = compare_latents(EARLIER, previous, present, directions, DriftSettings()).collect()
        assert (row["change"], row["term_similarity"]) == (change, similarity)
