"""The share of users whose test item hangs on a tie of time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pyspark.sql import DataFrame, SparkSession

from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.ties import tied_share

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def rows_at(spark: SparkSession, hours: dict[str, list[int]]) -> DataFrame:
    rows = [(user, START + timedelta(hours=hour)) for user, of_user in hours.items() for hour in of_user]
    return spark.createDataFrame(rows, "user_id string, ts timestamp").repartition(3)


def test_a_user_is_tied_whose_last_time_stands_twice(spark: SparkSession) -> None:
    rows = rows_at(spark, {"tied": [1, 2, 2], "early": [1, 1, 2], "none": [1, 2, 3], "all": [0] * 5, "short": [1, 1]})
    assert tied_share(rows, Split()) == 0.5  # of four: the short one has no test item
    assert tied_share(rows.where("user_id = 'short'"), Split()) == 0.0


def test_by_time_the_first_time_of_the_test_period_counts(spark: SparkSession) -> None:
    cuts = (int((START + timedelta(hours=hour)).timestamp() * 1e6) for hour in (10, 20))
    rows = rows_at(
        spark,
        {
            "tied": [1, 21, 21, 22],
            "later": [1, 21, 22, 22],
            "before": [1, 1, 11, 11, 21],
            "untrained": [11, 21, 21],
            "untested": [1, 1],
        },
    )
    assert tied_share(rows, Split(*cuts)) == 1 / 3
