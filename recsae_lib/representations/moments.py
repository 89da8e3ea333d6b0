"""Mean and deviation of representations, one dimension after the other."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


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
