from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.drift.activations import similar_activations

Users = dict[str, dict[int, float]]


def activations(spark: SparkSession, users: Users) -> DataFrame:
    rows = [(user, list(latents), list(latents.values())) for user, latents in users.items()]
    return spark.createDataFrame(rows, "user_id string, latent_ids array<int>, activations array<float>")


def similar(spark: SparkSession, previous: Users, present: Users, minimum: float = 0.5) -> list[tuple[int, int, float]]:
    pairs = similar_activations(activations(spark, previous), activations(spark, present), 1000, minimum)
    return list(zip(*(part.tolist() for part in pairs), strict=True))


def test_latents_that_fire_alike_for_the_same_users_correlate(spark: SparkSession) -> None:
    previous: Users = {"a": {0: 1.0}, "b": {0: 2.0, 1: 1.0}, "c": {1: 3.0}, "d": {}, "gone": {0: 9.0, 1: 9.0}}
    # Latent 5 is latent 0 at twice the scale; 6 fires for a and c; "new" is in one audit only and counts for nothing.
    present: Users = {"a": {5: 2.0, 6: 1.0}, "b": {5: 4.0}, "c": {6: 1.0}, "d": {}, "new": {5: 1.0, 6: 5.0}}
    z = {0: [1, 2, 0, 0], 1: [0, 1, 3, 0], 5: [2, 4, 0, 0], 6: [1, 0, 1, 0]}
    assert np.corrcoef(z[0], z[6])[0, 1] < 0.2 < np.corrcoef(z[1], z[6])[0, 1] < 0.5
    assert similar(spark, previous, present) == [(0, 5, 1.0)]
    assert similar(spark, previous, present, 0.4) == [
        (0, 5, 1.0),
        (1, 6, pytest.approx(np.corrcoef(z[1], z[6])[0, 1], abs=1e-6)),
    ]


def test_a_latent_that_fires_for_all_alike_is_like_no_other(spark: SparkSession) -> None:
    users: Users = {user: {0: 0.7, 1: float(n)} for n, user in enumerate("abcdefg", start=1)}
    assert similar(spark, users, users) == [(1, 1, 1.0)]


def test_without_common_users_nothing_is_similar(spark: SparkSession) -> None:
    assert similar(spark, {"a": {0: 1.0}, "b": {0: 2.0}}, {"c": {0: 1.0}, "d": {0: 2.0}}) == []


def test_users_are_drawn_alike_from_both_audits(spark: SparkSession) -> None:
    users: Users = {f"u{n}": {0: 1.0 + n % 7, 1: 1.0 + n % 5} for n in range(400)}
    every, some = (
        similar_activations(activations(spark, users), activations(spark, users), number, 0.0001)
        for number in (400, 100)
    )
    of_all, of_some = (dict(zip(zip(p, n, strict=True), s, strict=True)) for p, n, s in (every, some))
    assert of_all[0, 0] == of_some[0, 0] == 1.0
    assert of_all.get((0, 1)) != of_some.get((0, 1))
