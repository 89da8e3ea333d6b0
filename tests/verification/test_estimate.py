"""The estimate of cases: those that would be drawn."""

from __future__ import annotations

import numpy as np
from pyspark.sql import SparkSession

from recsae_lib.config import VerificationSettings
from recsae_lib.verification.cases import select_cases
from recsae_lib.verification.estimate import estimate_cases

USERS = 60
LABELS = "latent_id int, label string, description string, status string"


def test_the_cases_are_those_that_are_then_drawn(spark: SparkSession) -> None:
    random = np.random.default_rng(6)
    # Latent 0 fires for nobody in the verify half, 1 for all; the others for ever more users.
    firing = {1: USERS, 2: 1, 3: 5, 4: 12, 5: 30, 6: 55}
    fired = {latent: random.permutation(USERS)[:number].tolist() for latent, number in firing.items()}
    of_user = [[latent for latent, users in fired.items() if user in users] for user in range(USERS)]
    pairs = [
        (False, f"u{user}", of_user[user], latent, int(random.integers(1, 11)))
        for latent, users in fired.items()
        for user in users
    ]
    levels = spark.createDataFrame(
        pairs, "construct boolean, user_id string, latent_ids array<int>, latent_id int, level int"
    )
    users = spark.createDataFrame([(False, f"u{user}") for user in range(USERS)], "construct boolean, user_id string")
    neighbours = spark.createDataFrame([(4, 5, 1), (5, 4, 1)], "latent_id int, neighbour_id int, rank int")
    live = spark.createDataFrame([(latent,) for latent in range(7)], "latent_id int")
    labels = [(latent, "x" * latent, "y", "labelled" if latent % 2 else "unlabelled") for latent in range(7)]
    settings = VerificationSettings(cases_per_kind=6, cases_per_request=5)

    drawn = select_cases(levels, users, neighbours, 6, settings, seed=1).groupBy("latent_id").count().collect()
    cases = {row["latent_id"]: row["count"] for row in drawn}
    estimate = estimate_cases(levels, USERS, live, spark.createDataFrame(labels, LABELS), settings)
    assert (estimate.latents, estimate.wanted, estimate.cases) == (7, 12, sum(cases.values()))
    assert estimate.full == sum(number == 12 for number in cases.values()) > 0
    assert estimate.some == sum(number < 12 for number in cases.values()) > 0
    labelled = {latent: number for latent, number in cases.items() if latent % 2}
    assert estimate.labelled_cases == sum(labelled.values())
    parts = {latent: -(-number // 5) for latent, number in labelled.items()}
    assert estimate.labelled_requests == sum(parts.values())
    assert estimate.concept_characters == sum(parts[latent] * (latent + 1) for latent in parts)
    assert (
        "12 cases wanted of each: the 95 % interval of a confidence is then at most 0.492 wide" in estimate.lines()[0]
    )
