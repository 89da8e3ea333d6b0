"""Which latents are about the same thing: groups by literal values, and a latent that was split among its users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from recsae_lib.concepts.duplicates import represented, same_as

USERS = pd.DataFrame({"latent_id": [1, 2, 3, 4, 5, 6, 7, 8], "active_users": [5, 9, 7, 4, 4, 30, 1, 1]})


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([], {}, id="no pairs"),
        pytest.param([(1, 2)], {1: 2}, id="the one of more users stands for both"),
        pytest.param([(5, 4), (4, 5)], {5: 4}, id="of equal ones that of the lower id"),
        pytest.param([(3, 1), (2, 3), (8, 7)], {1: 2, 3: 2, 8: 7}, id="others connect two"),
        pytest.param([(0, 1), (9, 0)], {0: 1, 9: 1}, id="a latent without users never stands for one with"),
    ],
)
def test_groups_are_named_after_their_largest(pairs: list[tuple[int, int]], expected: dict[int, int]) -> None:
    found = represented(pd.DataFrame(pairs, columns=["latent_id", "neighbour_id"]), USERS)
    assert dict(found.itertuples(index=False)) == expected


def test_a_latent_split_among_its_users_is_found(spark: SparkSession) -> None:
    """Six latents of 400 users with 20 of 60 items of their own each; latent 2 gives half of its users to latent 7."""
    random = np.random.default_rng(4)
    counts = np.zeros((8, 480))
    users = dict.fromkeys(range(8), 0)
    for genre in range(6):
        likes = random.dirichlet(np.full(60, 2.0))
        for _ in range(400):
            latent = 7 if genre == 2 and random.random() < 0.45 else genre
            items = 60 * genre + random.choice(60, 20, replace=False, p=likes)
            others = random.integers(0, 480, 5)
            counts[latent, np.union1d(items, others)] += random.uniform(0.5, 2.0)
            users[latent] += 1
    latents, items = counts.nonzero()
    rows = [(int(latent), f"i{item}", float(counts[latent, item])) for latent, item in zip(latents, items, strict=True)]
    evidence = spark.createDataFrame(rows, "latent_id int, item_id string, weight double")
    reach = spark.createDataFrame([*users.items()], "latent_id int, active_users long")
    twins = same_as(evidence, reach, 0.8)
    assert twins.dtypes == [("latent_id", "int"), ("same_as", "int")]
    assert [tuple(row) for row in twins.collect()] == [(7, 2)]
    assert same_as(evidence, reach, 1.0).collect() == []
