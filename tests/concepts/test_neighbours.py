"""Nearest units against a plain cosine matrix; ties, zero rows and blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from sklearn.metrics.pairwise import cosine_similarity

from recsae_lib.concepts import neighbours as neighbours_module
from recsae_lib.concepts.neighbours import nearest_units, neighbours_of


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
    directions = np.array([[1, 0], [2, 0.2], [0, 0], [0, 3], [-1, 0]], dtype=np.float32)
    neighbours = neighbours_of(spark, directions, 2)
    assert neighbours.dtypes == [("latent_id", "int"), ("neighbour_id", "int"), ("rank", "int")]
    assert sorted(map(tuple, neighbours.collect())) == [
        (0, 1, 1),
        (0, 3, 2),
        (1, 0, 1),
        (1, 3, 2),
        (3, 0, 2),  # as far as unit 4: the smaller id
        (3, 1, 1),
        (4, 1, 2),
        (4, 3, 1),
    ]


def test_opposite_signs_of_a_dimension_are_the_last_to_be_neighbours() -> None:
    directions = np.stack([np.eye(3), -np.eye(3)], axis=1).reshape(6, 3)
    assert found(directions, 5)[2] == [0, 1, 4, 5, 3]


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
    assert neighbours_of(spark, np.ones((1, 4)), 3).collect() == []
    assert neighbours_of(spark, np.zeros((5, 4)), 3).collect() == []
