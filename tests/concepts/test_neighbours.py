"""Nearest units against a plain cosine matrix; ties, zero rows and blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics.pairwise import cosine_similarity

from recsae_lib.concepts import neighbours as neighbours_module
from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.concepts.neighbours import PROFILE_WIDTH, hashed_profile, nearest_units, neighbours_of


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
    norms = np.linalg.norm(directions, axis=1)
    live = np.flatnonzero(norms > 0)
    vectors = (directions[live] / norms[live, None]).astype(np.float32)
    pairs = nearest_units(vectors, live, vectors, live, number).sort_values(
        ["latent_id", "closeness", "neighbour_id"], ascending=[True, False, True]
    )
    of_unit = {unit: rows["neighbour_id"].tolist()[:number] for unit, rows in pairs.groupby("latent_id")}
    return {unit: of_unit.get(unit, []) for unit in live.tolist()}


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


def plain_cosines(weights: np.ndarray) -> np.ndarray:
    """Cosines of the docstring, (units, units), for units that all have evidence."""
    shares = weights / weights.sum(1, keepdims=True)
    commonness = shares.sum(0)
    profiles = np.divide(shares, np.sqrt(commonness), out=np.zeros_like(shares), where=commonness > 0)
    return cosine_similarity(profiles)


def evidence(spark: SparkSession, weights: np.ndarray, order: np.ndarray | None = None) -> DataFrame:
    latents, of_item = weights.nonzero()
    rows = [
        (int(latent), f"i{item}", float(weights[latent, item])) for latent, item in zip(latents, of_item, strict=True)
    ]
    shuffled = rows if order is None else [rows[place] for place in order]
    return spark.createDataFrame(shuffled, "latent_id int, item_id string, weight double")


@pytest.mark.parametrize("block", [4096, 7])
def test_neighbours_have_the_cosines_of_the_equation(
    spark: SparkSession, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve items of 1,024 places do not meet, so that the hashed cosines are those of the equation."""
    monkeypatch.setattr(neighbours_module, "UNITS_OF_BLOCK", block)
    random = np.random.default_rng(3)
    weights = random.random((20, 12)) * (random.random((20, 12)) < 0.5)
    weights[:, 0] += 0.1
    cosines = np.round(plain_cosines(weights), 6)
    expected_rows = [
        (unit, other, rank)
        for unit in range(20)
        for rank, other in enumerate(
            sorted({*range(20)} - {unit}, key=lambda other: (-cosines[unit, other], other))[:4], start=1
        )
    ]
    neighbours = neighbours_of(evidence(spark, weights), 4).collect()
    assert sorted(map(tuple, neighbours)) == sorted(expected_rows)
    order = random.permutation(np.count_nonzero(weights))
    assert sorted(map(tuple, neighbours_of(evidence(spark, weights, order), 4).collect())) == sorted(expected_rows)


def test_hashing_keeps_cosines_of_many_items() -> None:
    random = np.random.default_rng(3)
    weights = random.random((30, 20_000)) * (random.random((30, 20_000)) < 0.01)
    weights[1] = weights[0] + (random.random(20_000) < 0.002)
    hashes = np.sort(random.integers(-(2**63), 2**63, 20_000))
    shares = weights / weights.sum(1, keepdims=True)
    values = shares / np.sqrt(np.maximum(shares.sum(0), 1e-300))
    hashed = cosine_similarity([hashed_profile(hashes[row > 0], row[row > 0]) for row in values])
    errors = np.abs(hashed - plain_cosines(weights))
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
    monkeypatch.setattr(neighbours_module, "COSINES_AT_ONCE", 1010)  # 10 rows, the last block has one
    assert found(directions, 7) == whole == expected(directions, 7)


def test_no_other_unit_gives_no_neighbour(spark: SparkSession) -> None:
    columns = "latent_id int, item_id string, weight double"
    assert neighbours_of(spark.createDataFrame([(2, "a", 1.0)], columns), 3).collect() == []
    assert neighbours_of(spark.createDataFrame([], columns), 3).collect() == []


@pytest.mark.parametrize("block", [4096, 8])
def test_dictionaries_side_by_side_are_those_of_each_alone(
    spark: SparkSession, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours_module, "UNITS_OF_BLOCK", block)
    random = np.random.default_rng(5)
    worlds = {
        number: evidence(spark, random.random((units, 12)) * (random.random((units, 12)) < 0.5))
        for number, units in ((0, 20), (1, 11), (300, 9))
    }
    numbered = [
        world.withColumn("latent_id", (F.col("latent_id") + first_id(number)).cast("int"))
        for number, world in worlds.items()
    ]
    together = neighbours_of(numbered[0].union(numbered[1]).union(numbered[2]), 3)
    expected_rows = [
        (row["latent_id"] + first_id(number), row["neighbour_id"] + first_id(number), row["rank"])
        for number, world in worlds.items()
        for row in neighbours_of(world, 3).collect()
    ]
    assert sorted(map(tuple, together.collect())) == sorted(expected_rows)
