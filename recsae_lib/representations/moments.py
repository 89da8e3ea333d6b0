"""What Spark measures of representations: mean and deviation of each dimension, and a random sample of rows."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.platform.spark.draws import first_by_hash

SAMPLE_ROWS = 4096


def sample_rows(representations: DataFrame) -> np.ndarray:
    """Draw up to `SAMPLE_ROWS` users by hash: the (n, d) float32 vectors of the same users in every run.

    Parameters
    ----------
    representations : (user_id, representation ARRAY<FLOAT>), one row or more.
    """
    drawn = first_by_hash(representations, F.xxhash64("user_id"), SAMPLE_ROWS)
    return np.array([row[0] for row in drawn.select("representation").collect()], dtype=np.float32)


def dimension_moments(representations: DataFrame, dimension: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation (of the population) of each dimension of x over all users.

    Parameters
    ----------
    representations : (…, representation ARRAY<FLOAT>), one row or more.
    dimension : d
    """
    columns = [F.element_at("representation", index + 1).cast("double") for index in range(dimension)]
    row = representations.agg(*[F.avg(c) for c in columns], *[F.stddev_pop(c) for c in columns]).first()
    assert row is not None  # an aggregate without groups has one row
    values = [float(value) for value in row]
    return values[:dimension], values[dimension:]
