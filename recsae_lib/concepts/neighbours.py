"""The nearest other units of each unit, by the directions that they stand for."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

BLOCK_COSINES = 2**24  # cosines held at once
COSINE_STEPS = 1_000_000  # cosines closer than a millionth count as equal: the last bits differ between machines


def neighbours_of(spark: SparkSession, directions: np.ndarray, number: int) -> DataFrame:
    """Find the nearest other units of each unit by the cosine of their directions (method.md section 6).

        cos(l, m) = ⟨w_l, w_m⟩ / (‖w_l‖ ‖w_m‖)

    On the driver, in blocks of rows; the units x units matrix never stands whole. A unit without a direction (a row of
    zeros) has no neighbours and is nobody's.

    Parameters
    ----------
    directions : (units, d), the decoder rows of latents.
    number : neighbours wanted a unit; fewer where there are not so many others.

    Returns
    -------
    DataFrame : (latent_id INT, neighbour_id INT, rank INT), rank 1 is the nearest; equal cosines (to a millionth) by
        neighbour_id.
    """
    latents, neighbours = nearest_units(directions, number)
    rows = pd.DataFrame(
        {
            "latent_id": np.repeat(latents, neighbours.shape[1]),
            "neighbour_id": neighbours.ravel(),
            "rank": np.tile(np.arange(1, neighbours.shape[1] + 1), len(latents)),
        },
        dtype=np.int32,
    )
    return spark.createDataFrame(rows, "latent_id int, neighbour_id int, rank int")


def nearest_units(directions: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the units with a direction, (units,), and their nearest others, (units, ≤ number), nearest first."""
    norms = np.linalg.norm(directions, axis=1)
    units = np.flatnonzero(norms > 0)
    unit_vectors = (directions[units] / norms[units, None]).astype(np.float32)
    places = np.arange(len(units))
    found = max(min(number, len(units) - 1), 0)
    nearest = np.empty((len(units), found), dtype=np.int32)
    rows = max(1, BLOCK_COSINES // max(len(units), 1))
    for start in range(0, len(units) if found else 0, rows):
        cosines = unit_vectors[start : start + rows] @ unit_vectors.T
        # One integer orders by falling cosine, then by place, and no two are alike.
        order = np.rint(cosines * -COSINE_STEPS).astype(np.int64) * len(units) + places
        own = np.arange(len(order))
        order[own, start + own] = np.iinfo(np.int64).max
        best = np.sort(np.partition(order, found - 1)[:, :found], axis=1)
        nearest[start : start + rows] = units[best % len(units)]
    return units, nearest
