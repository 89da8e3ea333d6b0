"""From activations to scores: planted concepts are found interpretable, and shuffled activations are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import Settings
from recsae_lib.platform.warehouse.tables import CONCEPT_SCORES, VERIFICATION_CASES
from recsae_lib.verification.judging import Verdicts, verify_units

pytestmark = pytest.mark.integration

FEATURES = [f"genre{number}" for number in range(12)]
USERS = 840
SETTINGS = Settings()


@dataclass
class World:
    """Users who like one feature each; latent n fires for those of feature n, and for some others."""

    spark: SparkSession
    fired: list[dict[int, float]]
    linked: DataFrame
    items: DataFrame

    def activations(self, of_user: np.ndarray) -> DataFrame:
        """Give user n the activations made for user `of_user[n]`."""
        rows = [(f"u{n}", list(self.fired[m]), list(self.fired[m].values())) for n, m in enumerate(of_user)]
        return self.spark.createDataFrame(rows, "user_id string, latent_ids array<int>, activations array<float>")

    def verify(self, of_user: np.ndarray) -> Verdicts:
        activations = self.activations(of_user).cache()
        construct = in_construct_half(F.col("user_id"), SETTINGS.evidence.salt)
        latent_items = link_latents_to_items(activations.where(construct), self.linked, 100).cache()
        terms = concept_terms(latent_items, self.items, SETTINGS.terms).cache()
        return verify_units(activations, self.linked, self.items, terms, latent_items, SETTINGS)


@pytest.fixture(scope="module")
def world(spark: SparkSession) -> World:
    random = np.random.default_rng(8)
    likes = np.arange(USERS) % len(FEATURES)
    fired = [
        {
            latent: float(1 + random.random())
            for latent in range(len(FEATURES))
            if latent == liked or random.random() < 0.004
        }
        for liked in likes
    ]
    catalogue = [(f"{name}{n}", f"night {n % 7}", [name]) for name in FEATURES for n in range(40)]
    linked = []
    for user, liked in enumerate(likes):
        own = random.random(15) < 0.8
        names = [FEATURES[liked] if mine else FEATURES[random.integers(len(FEATURES))] for mine in own]
        linked.append((f"u{user}", sorted({f"{name}{random.integers(40)}" for name in names})))
    return World(
        spark,
        fired,
        spark.createDataFrame(linked, "user_id string, item_ids array<string>").cache(),
        spark.createDataFrame(
            [(item, "", text, features) for item, text, features in catalogue],
            "item_id string, title string, text string, features array<string>",
        ).cache(),
    )


@pytest.fixture(scope="module")
def planted(world: World) -> Verdicts:
    verdicts = world.verify(np.arange(USERS))
    return Verdicts(verdicts.judged.cache(), verdicts.scores)


def test_planted_concepts_are_interpretable(planted: Verdicts) -> None:
    scores = {row["latent_id"]: row for row in planted.scores.collect()}
    assert sorted(scores) == list(range(len(FEATURES)))
    assert np.mean([row["interpretable"] for row in scores.values()]) > 0.9
    named = {latent: row["best_feature"] for latent, row in scores.items()}
    assert sum(named[latent] == FEATURES[latent] for latent in named) > 0.9 * len(FEATURES)
    assert min(row["best_feature_auc"] for row in scores.values() if row["best_feature"]) > 0.6
    from_the_job = ("dt", "sae_version", "llm_model", "prompt_version")
    for frame, table in (
        (planted.scores, CONCEPT_SCORES),
        (planted.cases, VERIFICATION_CASES),
    ):
        declared = {field.name: field.dataType for field in table.schema if field.name not in from_the_job}
        assert {field.name: field.dataType for field in frame.schema} == declared


def test_only_the_verify_half_judges(planted: Verdicts) -> None:
    construct = in_construct_half(F.col("user_id"), SETTINGS.evidence.salt).alias("construct")
    cases = planted.cases.select("kind", "judge", construct).collect()
    assert {(row["judge"], row["construct"]) for row in cases} == {("terms", False)}
    assert {row["kind"] for row in cases} == {"positive", "random", "hard"}


def test_shuffled_activations_are_not_interpretable(world: World) -> None:
    scores = world.verify(np.random.default_rng(1).permutation(USERS)).scores.collect()
    assert len(scores) == len(FEATURES)
    assert np.mean([row["interpretable"] for row in scores]) <= 0.05
    assert np.mean([row["best_feature"] is not None for row in scores]) <= 0.1
    judged = [row["confidence"] for row in scores if row["confidence"] is not None]
    assert np.mean(judged) == pytest.approx(0.5, abs=0.05)
