"""Dates that are written as numbers, and Unix times beside them."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.values import as_time
from recsae_lib.datasets.times import read_dates


def dated(spark: SparkSession, numbers: list[str]) -> list[str]:
    rows = spark.createDataFrame([(number,) for number in numbers], "number string")
    times = rows.select(as_time("ts", (F.col("number"), rows.schema["number"].dataType)).alias("ts"))
    found = read_dates(times).select(F.col("ts").cast("string").alias("ts"))
    assert found.columns == ["ts"]
    return [row["ts"] for row in found.collect()]


@pytest.mark.parametrize(
    ("numbers", "times", "told"),
    [
        (
            ["20200913", "20201231", "19700101.0"],
            ["2020-09-13 00:00:00", "2020-12-31 00:00:00", "1970-01-01 00:00:00"],
            "dates written yyyymmdd",
        ),
        (
            ["44087.5", "44088", "44089.25"],
            ["2020-09-13 12:00:00", "2020-09-14 00:00:00", "2020-09-15 06:00:00"],
            "days of a spreadsheet, counted from 1899-12-30",
        ),
        (["202009131234"], ["2020-09-13 12:34:00"], "times written yyyymmddhhmm"),
        (["202009", "202112"], ["2020-09-01 00:00:00", "2021-12-01 00:00:00"], "months written yyyymm"),
        (["2019", "2020"], ["2019-01-01 00:00:00", "2020-01-01 00:00:00"], "years"),
    ],
)
def test_numbers_that_all_are_dates_are_read_as_dates(
    spark: SparkSession, numbers: list[str], times: list[str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert dated(spark, numbers) == times
    assert caplog.messages == [f"the times are read as {told}"]


def test_a_number_of_fourteen_digits_is_a_date_and_time(spark: SparkSession) -> None:
    assert dated(spark, ["20200913123456", "1600000000"]) == ["2020-09-13 12:34:56", "2020-09-13 12:26:40"]


def test_unix_times_and_no_times_stay_and_say_nothing(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    assert dated(spark, ["20200913", "1600000000"]) == ["1970-08-22 19:21:53", "2020-09-13 12:26:40"]
    assert dated(spark, ["0", "0"]) == ["1970-01-01 00:00:00"] * 2
    assert dated(spark, []) == []
    assert caplog.messages == []


def test_one_number_that_is_no_date_keeps_all_unix_times(spark: SparkSession) -> None:
    assert dated(spark, ["20201345", "20200913"]) == ["1970-08-22 19:29:05", "1970-08-22 19:21:53"]
