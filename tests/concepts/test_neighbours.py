"""Nearest units against a plain cosine matrix; ties, zero rows and blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from sklearn.metrics.pairwise import cosine_similarity

from recsae_lib.concepts import neighbours as neighbours_module
from recsae_lib.concepts.neighbours import PROFILE_WIDTH, evidence_profiles, nearest_units, neighbours_of


def expected(directions: np.ndarray, number: int) -> dict[int, list[int]]:
    live = [unit for unit in range(len(directions)) if np.any(directions[unit])]
    cosines = np.round(cosine_similarity(directions.astype(np.float64)), 6)
    return {
        unit: sorted((other for other in live if other != unit), key=lambda other: (-cosines[unit, other], other))[
            :number
        ]
        for unit in live
    }


def found(directions: np.ndarray, number: int) -> dict[int, list[int]]:
    units, nearest = nearest_units(directions, number)
    return dict(zip(units.tolist(), nearest.tolist(), strict=True))


def test_rows_with_rank(spark: SparkSession) -> None:
    rows = [(0, "a", 2.0), (0, "b", 2.0), (1, "a", 5.0), (1, "b", 4.0), (3, "b", 1.0), (3, "c", 3.0), (4, "d", 1.0)]
    neighbours = neighbours_of(spark.createDataFrame(rows, "latent_id int, item_id string, weight double"), 2)
    assert neighbours.dtypes == [("latent_id", "int"), ("neighbour_id", "int"), ("rank", "int")]
    assert sorted(map(tuple, neighbours.collect())) == [
        (0, 1, 1),
        (0, 3, 2),
        (1, 0, 1),
        (1, 3, 2),
        (3, 0, 1),
        (3, 1, 2),
        (4, 0, 1),  # shares nothing with anybody: the smallest ids
        (4, 1, 2),
    ]


def plain_profiles(weights: np.ndarray) -> np.ndarray:
    """v of the docstring, (units, items), for units that all have evidence."""
    shares = weights / weights.sum(1, keepdims=True)
    commonness = shares.sum(0) / shares.sum()
    return np.divide(shares, np.sqrt(commonness), out=np.zeros_like(shares), where=commonness > 0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), units=st.integers(1, 12), items=st.integers(1, 40))
def test_profiles_have_the_cosines_of_the_equation_in_any_order(seed: int, units: int, items: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.random((units, items)) * (random.random((units, items)) < 0.5)
    weights[:, 0] += 0.1
    latents, of_item = weights.nonzero()
    signed = of_item.astype(np.int64) | (of_item.astype(np.int64) % 2 << 32)  # a place of its own for each
    order = random.permutation(len(latents))
    profiles = evidence_profiles(latents[order], signed[order], weights[latents, of_item][order])
    assert profiles.shape == (units, PROFILE_WIDTH)
    np.testing.assert_allclose(cosine_similarity(profiles), cosine_similarity(plain_profiles(weights)), atol=1e-5)
    assert evidence_profiles(latents, signed, weights[latents, of_item]).tobytes() == profiles.tobytes()


def test_hashing_keeps_cosines_of_many_items(spark: SparkSession) -> None:
    random = np.random.default_rng(3)
    weights = random.random((30, 20_000)) * (random.random((30, 20_000)) < 0.01)
    weights[1] = weights[0] + (random.random(20_000) < 0.002)
    latents, of_item = weights.nonzero()
    hashes = random.integers(-(2**63), 2**63, 20_000)[of_item]
    hashed = cosine_similarity(evidence_profiles(latents, hashes, weights[latents, of_item]))
    errors = np.abs(hashed - cosine_similarity(plain_profiles(weights)))
    assert errors.max() < 5 / np.sqrt(PROFILE_WIDTH)
    assert hashed[0, 1] > 0.5 > np.delete(hashed[0], [0, 1]).max()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), units=st.integers(1, 40), number=st.integers(1, 45), grid=st.booleans())
def test_any_directions_agree_with_the_whole_matrix(seed: int, units: int, number: int, grid: bool) -> None:
    random = np.random.default_rng(seed)
    # Small whole numbers give zero rows and many equal cosines.
    directions = random.integers(-1, 2, (units, 3)) if grid else random.normal(size=(units, 5))
    assert found(directions.astype(np.float32), number) == expected(directions, number)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    directions = np.random.default_rng(0).normal(size=(101, 8)).astype(np.float32)
    whole = found(directions, 7)
    monkeypatch.setattr(neighbours_module, "BLOCK_COSINES", 1010)  # 10 rows, the last block has one
    assert found(directions, 7) == whole == expected(directions, 7)


def test_no_other_unit_gives_no_neighbour(spark: SparkSession) -> None:
    columns = "latent_id int, item_id string, weight double"
    assert neighbours_of(spark.createDataFrame([(2, "a", 1.0)], columns), 3).collect() == []
    assert neighbours_of(spark.createDataFrame([], columns), 3).collect() == []
