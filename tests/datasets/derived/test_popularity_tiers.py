"""Tiers against a walk along all interactions, and what stands at their edges."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.derived.popularity_tiers import TIERS, popularity_tier, tier_starts


def tiers_of(spark: SparkSession, counts: list[int]) -> list[str]:
    starts = tier_starts(Counter(count for count in counts if count))
    frame = spark.createDataFrame([(count,) for count in counts], "interactions long")
    rows = frame.select(popularity_tier(F.col("interactions"), starts)).collect()
    return [row[0].removeprefix("popularity: ") for row in rows]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([4, 4, 4, 4], ["highest"] * 4),
        ([8, 4, 2, 1, 1, 0], ["highest", "low", "lowest", "lowest", "lowest", "lowest"]),
        ([5, 3, 3, 3, 2, 2, 2], ["highest", "high", "high", "high", "low", "low", "low"]),
        ([3, 2, 2, 2, 2, 1], ["highest", "high", "high", "high", "high", "lowest"]),  # ties at an edge
        ([6, 6, 5, 5, 1, 1], ["highest", "highest", "low", "low", "lowest", "lowest"]),
        ([100, 1], ["highest", "lowest"]),
        ([1], ["highest"]),
        ([4, 3, 2, 2, 1], ["highest", "high", "low", "low", "lowest"]),
    ],
    ids=["all_alike", "one_is_half", "ties_inside", "ties_at_an_edge", "pairs", "one_is_nearly_all", "one", "a_few"],
)
def test_tiers_of_planted_counts(spark: SparkSession, counts: list[int], expected: list[str]) -> None:
    assert tiers_of(spark, counts) == expected


def test_tiers_are_those_of_a_walk_along_all_interactions(spark: SparkSession) -> None:
    draw = random.Random(5)
    counts = sorted((int(draw.paretovariate(1.3)) for _ in range(300)), reverse=True)
    total, begin, expected, tier_of_count = sum(counts), 0, [], {}
    for count in counts:
        tier_of_count.setdefault(count, TIERS[4 * begin // total])  # of equal counts the first decides
        expected.append(tier_of_count[count])
        begin += count
    assert tiers_of(spark, counts) == expected
    assert set(expected) == set(TIERS)
