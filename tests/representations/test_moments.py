from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from recsae_lib.representations.moments import dimension_moments


def test_each_dimension_has_its_mean_and_deviation(spark: SparkSession) -> None:
    rows = [("a", [1.0, 2.0]), ("b", [3.0, 2.0]), ("c", [5.0, 2.0])]
    x = spark.createDataFrame(rows, "user_id string, representation array<float>")
    means, deviations = dimension_moments(x, 2)
    assert means == [3.0, 2.0]
    assert deviations == pytest.approx([(8 / 3) ** 0.5, 0.0])
