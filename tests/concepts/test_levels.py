"""Levels: deciles of a latent's own activations, ties alike, and nothing that depends on the order of rows."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from scipy.stats import rankdata

from recsae_lib.concepts import levels as levels_module
from recsae_lib.concepts.levels import activation_levels, level_edges, live_latents

ACTIVATIONS = "user_id string, latent_ids array<int>, activations array<float>"
Values = dict[int, list[float]]  # latent → activation of user 0, 1, …; 0 where it does not fire


def frame(spark: SparkSession, values: Values) -> DataFrame:
    fired: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for latent, of_users in values.items():
        for user, activation in enumerate(of_users):
            if activation > 0:
                fired[f"u{user}"].append((latent, float(activation)))
    rows = [(user, [latent for latent, _ in pairs], [z for _, z in pairs]) for user, pairs in fired.items()]
    return spark.createDataFrame([*rows, ("silent", [], [])], ACTIVATIONS)


def levels_of(activations: DataFrame) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for row in activation_levels(activations, level_edges(activations)).collect():
        user = int(row["user_id"].removeprefix("u"))
        assert user not in found[row["latent_id"]]
        found[row["latent_id"]][user] = row["level"]
    return found


def expected_levels(of_users: list[float]) -> dict[int, int]:
    """From the definition: one more than ten times the share of smaller activations, rounded down."""
    firing = [user for user, activation in enumerate(of_users) if activation > 0]
    smaller = rankdata([of_users[user] for user in firing], method="min") - 1
    return {user: 1 + int(10 * below // len(firing)) for user, below in zip(firing, smaller, strict=True)}


def test_levels_of_small_latents(spark: SparkSession) -> None:
    found = levels_of(
        frame(
            spark,
            {
                0: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
                1: [5.0],
                2: [0.0, 3.0, 1.0],
                3: [2.0, 2.0, 2.0, 2.0],
                4: [1.0, 2.0, 2.0, 7.0],
            },
        )
    )
    assert found == {
        0: {user: user + 1 for user in range(10)},
        1: {0: 1},
        2: {1: 6, 2: 1},
        3: dict.fromkeys(range(4), 1),
        4: {0: 1, 1: 3, 2: 3, 3: 8},
    }
    one = frame(spark, {0: [1.0]})
    assert activation_levels(one, level_edges(one)).dtypes == [*one.dtypes, ("latent_id", "int"), ("level", "int")]


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=60), min_size=5, max_size=20))
def test_any_latents_agree_with_the_definition(spark: SparkSession, values: list[list[int]]) -> None:
    latents = {latent: [float(np.float32(v * 0.1)) for v in of_users] for latent, of_users in enumerate(values)}
    wanted = {latent: expected_levels(of_users) for latent, of_users in latents.items() if any(of_users)}
    assert levels_of(frame(spark, latents)) == wanted


def test_common_latent_gets_its_levels_from_a_sample(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels_module, "EXACT_USERS", 400)
    random = np.random.default_rng(1)
    values = {7: random.exponential(size=4000).astype(np.float32).tolist(), 8: random.random(400).tolist()}
    activations = frame(spark, values)
    found = levels_of(activations)
    assert found[8] == expected_levels(np.float32(values[8]).tolist())  # exact up to the limit
    exact = expected_levels(values[7])
    assert len(found[7]) == 4000
    # Edges from 400 of 4,000: a rank has a standard error of at most .025 √.9, a quarter of a level.
    wrong = [abs(found[7][user] - level) for user, level in exact.items()]
    assert 0 < np.mean(wrong) < 0.25
    assert max(wrong) <= 1
    assert levels_of(activations.repartition(5).orderBy("activations")) == found


def test_no_activation_gives_no_level(spark: SparkSession) -> None:
    assert levels_of(frame(spark, {})) == {}


def test_live_latents_fire_for_somebody(spark: SparkSession) -> None:
    live = live_latents(frame(spark, {0: [0.0, 0.0], 3: [1.0, 2.0], 7: [0.0, 0.5]}))
    assert sorted(row["latent_id"] for row in live.collect()) == [3, 7]
