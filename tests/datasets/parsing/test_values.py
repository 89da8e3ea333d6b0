"""Ids, weights, times and features in the forms that people write them."""

from __future__ import annotations

import pytest
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.values import as_features, as_id, as_time, as_weight

TIMES = {
    "2020-01-02": "2020-01-02 00:00:00",
    "2020-01-02 03:04": "2020-01-02 03:04:00",
    "2020-01-02T03:04:05.123456789Z": "2020-01-02 03:04:05.123456",
    "2020-01-02T03:04:05+0130": "2020-01-02 01:34:05",
    " 2020-01-02T03:04:05-02:00 ": "2020-01-02 05:04:05",
    "2020-01-02 03:04:05 UTC": "2020-01-02 03:04:05",
    "2020-01-02 03:04:05.5 GMT": "2020-01-02 03:04:05.5",
    "2020-01-02 03:04:05+00": "2020-01-02 03:04:05",
    "2020-01-02 03:04:05 +0200": "2020-01-02 01:04:05",
    "2020-01-02 03:04-01": "2020-01-02 04:04:00",
    "2020-01-02 03:04:05 Z": "2020-01-02 03:04:05",
    "2020-01-02 03:04:05 CEST": None,
    "2020-01-02 UTC": None,
    "1/2/2020 3:04": None,  # which is the month?
    "881250949": "1997-12-04 15:55:49",
    "881250949123": "1997-12-04 15:55:49.123",
    "881250949123456": "1997-12-04 15:55:49.123456",
    "881250949123456789": "1997-12-04 15:55:49.123456",
    "8.81250949e+8": "1997-12-04 15:55:49",
    "0": "1970-01-01 00:00:00",
    "-1": "1969-12-31 23:59:59",
    "2020": "1970-01-01 00:33:40",  # a Unix time, no year
    "T12:30": None,  # would be today
    "2020-02-30": None,
    "2020-1-2": None,
    "1e99": None,
    "123456789012345678901234567890123456789012": None,
    "nan": None,
    "": None,
}
WEIGHTS = {
    "4": 4.0,
    " .5 ": 0.5,
    "-1e-3": -0.001,
    "+2.": 2.0,
    "1d": None,
    "0x1": None,
    "NaN": None,
    "inf": None,
    "1e400": None,
}


def text_column(name: str = "text") -> tuple[Column, T.DataType]:
    return F.col(name), T.StringType()


@pytest.mark.parametrize("ansi", ["false", "true"])
def test_text_is_read_or_gives_null_whatever_the_session(spark: SparkSession, ansi: str) -> None:
    before = {name: spark.conf.get(name) for name in ("spark.sql.ansi.enabled", "spark.sql.session.timeZone")}
    rows = spark.createDataFrame([(text,) for text in [*TIMES, *WEIGHTS]], "text STRING")
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    spark.conf.set("spark.sql.session.timeZone", "America/New_York" if ansi == "true" else "UTC")
    try:
        time, weight = F.unix_micros(as_time("t", text_column())), as_weight("w", text_column())
        found = {row[0]: (row[1], row[2]) for row in rows.select("text", time, weight).collect()}
    finally:
        for name, value in before.items():
            spark.conf.set(name, value or "")
    micros = {
        row[0]: row[1]
        for row in spark.createDataFrame(list(TIMES.items()), "text STRING, ts STRING")
        .select("text", F.unix_micros(F.col("ts").cast("timestamp")))
        .collect()
    }
    assert {text: found[text][0] for text in TIMES} == micros
    assert {text: found[text][1] for text in WEIGHTS} == WEIGHTS


def test_numbers_and_dates_are_times_too(spark: SparkSession) -> None:
    row = spark.sql(
        "SELECT 881250949L AS whole, 881250949.5D AS broken, CAST('NaN' AS DOUBLE) AS none, 1e30D AS vast, "
        "DATE'2020-01-02' AS day, 881250949BD AS exact"
    )
    times = [as_time(field.name, (F.col(field.name), field.dataType)).cast("string") for field in row.schema.fields]
    assert tuple(row.select(*times).first() or ()) == (
        "1997-12-04 15:55:49",
        "1997-12-04 15:55:49.5",
        None,
        None,
        "2020-01-02 00:00:00",
        "1997-12-04 15:55:49",
    )


def test_a_decimal_id_is_a_whole_number_or_none(spark: SparkSession) -> None:
    rows = spark.sql("SELECT CAST(n AS DECIMAL(38,9)) AS n FROM VALUES '12', '-3', '1.5', NULL AS t(n)")
    found = rows.select(as_id("n", (F.col("n"), rows.schema["n"].dataType))).collect()
    assert [row[0] for row in found] == ["12", "-3", None, None]


def test_ids_are_text_without_blanks_and_features_come_once(spark: SparkSession) -> None:
    row = spark.createDataFrame([("\t a b\u00a0", 12, " x.|y |x.||", None)], "a STRING, n INT, f STRING, g STRING")
    found = row.select(
        as_id("a", text_column("a")),
        as_id("n", (F.col("n"), T.IntegerType())),
        as_features("f", text_column("f"), "|"),
        as_features("f", text_column("f"), ".|"),
        as_features("g", text_column("g"), "|"),
    )
    assert tuple(found.first() or ()) == ("a b", "12", ["x.", "y"], ["x", "y |x", "|"], [])
