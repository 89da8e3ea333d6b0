"""The estimate of cases: those that would be drawn."""

from __future__ import annotations

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.config import Settings, VerificationSettings
from recsae_lib.platform.llm.prompts import Prompt
from recsae_lib.verification.cases import draw_cases
from recsae_lib.verification.estimate import estimate_cases, estimate_verification
from recsae_lib.verification.term_judge import Sides

USERS = 60
LABELS = "latent_id int, label string, description string, status string"


def test_the_cases_are_those_that_are_then_drawn(spark: SparkSession) -> None:
    random = np.random.default_rng(6)
    # Latent 0 fires for nobody in the verify half, 1 for all; the others for ever more users.
    firing = {0: 0, 1: USERS, 2: 1, 3: 5, 4: 12, 5: 30, 6: 55}
    level_of = np.zeros((USERS, 7), dtype=int)
    for latent, number in firing.items():
        level_of[random.permutation(USERS)[:number], latent] = random.integers(1, 11, number)
    pairs = [(int(latent), int(level_of[user, latent])) for user, latent in zip(*level_of.nonzero(), strict=True)]
    levels = spark.createDataFrame(pairs, "latent_id int, level int")
    live = spark.createDataFrame([(latent,) for latent in range(7)], "latent_id int")
    labels = [(latent, "x" * latent, "y", "labelled" if latent % 2 else "unlabelled") for latent in range(7)]
    settings = VerificationSettings(cases_per_kind=6, cases_per_request=5)

    hard, draws = random.random((USERS, 7)) < 0.2, random.integers(0, 2**62, USERS)
    who = Sides(level_of >= 5, level_of == 0, hard & (level_of == 0))
    cases = {latent: len(draw_cases(who.of_unit(latent), draws, latent, 6).users) for latent in range(7)}
    estimate = estimate_cases(levels, USERS, live, spark.createDataFrame(labels, LABELS), settings)
    assert (estimate.latents, estimate.wanted, estimate.cases) == (7, 12, sum(cases.values()))
    assert estimate.full == sum(number == 12 for number in cases.values()) > 0
    assert estimate.some == sum(0 < number < 12 for number in cases.values()) > 0
    labelled = {latent: number for latent, number in cases.items() if latent % 2 and number}
    assert estimate.labelled_cases == sum(labelled.values())
    parts = {latent: -(-number // 5) for latent, number in labelled.items()}
    assert estimate.labelled_requests == sum(parts.values())
    watched = {latent: parts[latent] - (number % 5 == 1) for latent, number in labelled.items()}
    assert estimate.watched_requests == sum(watched.values()) > 0
    assert estimate.fitting_characters == sum(watched[latent] * (2 * latent + 1) for latent in watched)
    assert estimate.concept_characters == sum(parts[latent] * (latent + 1) for latent in parts)
    assert (
        "12 cases wanted of each: the 95 % interval of a confidence is then at most 0.492 wide" in estimate.lines()[0]
    )


def test_an_estimate_is_of_the_verify_half_and_of_the_judges(spark: SparkSession) -> None:
    settings = Settings.model_validate({"verification": {"cases_per_kind": 1, "minimum_level": 1}})
    half = in_construct_half(F.col("user_id"), settings.evidence.salt)
    users = spark.range(40).select(F.concat(F.lit("u"), "id").alias("user_id"))
    verify = [row["user_id"] for row in users.where(~half).orderBy("user_id").limit(3).collect()]
    construct = [row["user_id"] for row in users.where(half).orderBy("user_id").limit(2).collect()]
    # Latent 0 fires for one user of the verify half, latent 1 only in the other half.
    fired = [
        (verify[0], [0], [1.0]),
        *((user, [], []) for user in verify[1:]),
        *((user, [1], [1.0]) for user in construct),
    ]
    activations = spark.createDataFrame(fired, "user_id string, latent_ids array<int>, activations array<float>")
    lists = [(user, ["i1"], ["i2"]) for user, *_ in fired]
    recommendations = spark.createDataFrame(lists, "user_id string, item_ids array<string>, context_ids array<string>")
    items = spark.createDataFrame(
        [("i1", "Alien", "", ["space"])], "item_id string, title string, text string, features array<string>"
    )
    labels = spark.createDataFrame([(0, "space", "ships", "labelled")], LABELS)
    frames = activations, recommendations, items, labels, settings
    *counts, hint = estimate_verification(*frames, None)
    assert counts[0].startswith("2 latents, 2 cases wanted of each")
    assert counts[1] == "the users give 1 latents as many cases, 0 fewer, and 1 none: 2 cases in all"
    assert hint.startswith("judge terms asks nobody")
    nobody = settings.model_copy(update={"verification": settings.verification.model_copy(update={"judged_users": 0})})
    assert estimate_verification(*frames[:-1], nobody, None)[1].endswith("2 none: 0 cases in all")
    *same, asked, cost, last = estimate_verification(*frames, Prompt("You judge.", "v1"))
    assert same == counts
    assert asked.startswith("1 requests to gpt-4o-mini, about ")
    assert (cost.startswith("no cost"), last) == (True, "what has been answered before is not asked again")
