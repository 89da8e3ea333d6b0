"""Shuffled labels: everybody gets another one's terms, each to one, by the seed alone."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from recsae_lib.verification.shuffled_labels import shuffle_labels, shuffled_terms

TERMS = "latent_id int, term string, tfidf double"


def label_of_each(spark: SparkSession, latents: list[int], seed: int) -> dict[int, int]:
    rows = [(latent, f"t{term}", 0.1) for latent in latents for term in range(3)]
    return {
        row["latent_id"]: row["label_of"] for row in shuffle_labels(spark.createDataFrame(rows, TERMS), seed).collect()
    }


@pytest.mark.parametrize("latents", [[3, 9], [5, 1, 40], list(range(100, 160))])
def test_no_latent_keeps_its_label_and_each_goes_to_one(spark: SparkSession, latents: list[int]) -> None:
    label_of = label_of_each(spark, latents, seed=1)
    assert sorted(label_of) == sorted(label_of.values()) == sorted(latents)
    assert all(latent != other for latent, other in label_of.items())


def test_the_seed_and_nothing_else_decides(spark: SparkSession) -> None:
    latents = list(range(40))
    assert label_of_each(spark, latents, seed=1) == label_of_each(spark, latents[::-1], seed=1)
    assert label_of_each(spark, latents, seed=1) != label_of_each(spark, latents, seed=2)


def test_a_label_alone_has_nobody_to_go_to(spark: SparkSession) -> None:
    assert label_of_each(spark, [7], seed=1) == {}
    assert shuffle_labels(spark.createDataFrame([], TERMS), 1).collect() == []


def test_terms_move_to_the_latent_that_gets_them(spark: SparkSession) -> None:
    terms = spark.createDataFrame([(1, "a", 0.5), (1, "b", 0.2), (2, "c", 0.3), (3, "d", 0.1)], TERMS)
    shuffled = spark.createDataFrame([(1, 2), (2, 1), (3, None), (4, None)], "latent_id int, label_of int")
    moved = shuffled_terms(terms, shuffled)
    assert moved.columns == terms.columns
    assert sorted(map(tuple, moved.collect())) == [(1, "c", 0.3), (2, "a", 0.5), (2, "b", 0.2)]
