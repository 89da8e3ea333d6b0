from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half


def test_half_of_the_users_are_in_the_construct_half_for_any_ids(spark: SparkSession) -> None:
    users = spark.range(20_000).select(
        F.col("id").cast("string").alias("number"), F.concat(F.lit("user-"), F.col("id") * 2).alias("even")
    )
    shares = users.agg(
        *[F.avg(in_construct_half(F.col(ids), "recsae").cast("double")) for ids in ("number", "even")]
    ).first()
    assert list(shares) == pytest.approx([0.5, 0.5], abs=0.015)  # four standard errors


def test_a_user_stays_in_the_same_half_in_every_release(spark: SparkSession) -> None:
    names = ("1", "2", "3", "anna", "bert", "carl", "ünal")
    users = spark.createDataFrame([(name,) for name in names], "user_id string")
    rows = users.where(in_construct_half(F.col("user_id"), "recsae")).collect()
    assert {row["user_id"] for row in rows} == {"1", "2", "ünal"}


def test_another_salt_is_an_independent_split(spark: SparkSession) -> None:
    user_id = F.col("id").cast("string")
    same = in_construct_half(user_id, "recsae") == in_construct_half(user_id, "other")
    assert spark.range(20_000).agg(F.avg(same.cast("double"))).first()[0] == pytest.approx(0.5, abs=0.015)
