"""Years out of titles and columns, and the periods that they make."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.derived.release_periods import When, release_period, release_year


def test_a_year_is_that_of_the_source_or_in_the_title(spark: SparkSession) -> None:
    rows = [
        ("Heat (1995)", None, 1995),
        ("Heat (1995) ", 1996, 1996),  # what the source says goes first
        ("Show (2006–2007)", None, 2006),
        ("Show (2006- )", None, None),
        ("Heat (1995) uncut", None, None),
        ("Heat 1995", None, None),
        ("1984", None, None),
        ("Old (1849)", None, None),
        ("First (1850)", None, 1850),
        ("Next year (2027)", None, 2027),
        ("Later (2028)", None, None),
        ("Later (1999)", 2028, 1999),  # a year that cannot be is none
        ("Zero", 0, None),
        (None, None, None),
        ("x" * 10_000 + " (1995)", None, 1995),
        ("(1995)\x1b[2J", None, None),
        ("(٢٠٠٦)", None, None),
    ]
    frame = spark.createDataFrame([row[:2] for row in rows], "title string, released int")
    assert [row[0] for row in frame.select(release_year(2026)).collect()] == [year for _, _, year in rows]


def periods(spark: SparkSession, items_by_year: dict[int | None, int], when: When = "auto") -> dict[int | None, str]:
    frame = spark.createDataFrame([(year,) for year in items_by_year], "year int")
    rows = frame.select("year", release_period(F.col("year"), items_by_year, when).alias("period")).collect()
    return {row["year"]: row["period"] for row in rows}


def test_decades_with_more_than_a_tenth_become_two_year_spans(spark: SparkSession) -> None:
    # 100 dated items: of the 1980s exactly a tenth, of the 1990s more.
    by_year = {None: 20, 1939: 3, 1980: 4, 1989: 6, 1990: 7, 1996: 20, 1997: 30, 1999: 20, 2000: 10}
    assert periods(spark, by_year) == {
        None: None,
        1939: "released: 1930s",
        1980: "released: 1980s",
        1989: "released: 1980s",
        1990: "released: 1990-1991",
        1996: "released: 1996-1997",
        1997: "released: 1996-1997",
        1999: "released: 1998-1999",
        2000: "released: 2000s",
    }


@pytest.mark.parametrize(
    ("undated", "when", "expected"),
    [
        (4, "auto", "released: 1994-1995"),
        (5, "auto", None),
        (5, "always", "released: 1994-1995"),
        (0, "never", None),
    ],
)
def test_auto_asks_for_a_year_of_half_of_the_items(
    spark: SparkSession, undated: int, when: When, expected: str | None
) -> None:
    assert periods(spark, {1995: 4, None: undated}, when)[1995] == expected


def test_no_years_are_no_periods(spark: SparkSession) -> None:
    for when in ("auto", "always"):
        assert periods(spark, {None: 7}, when) == {None: None}
