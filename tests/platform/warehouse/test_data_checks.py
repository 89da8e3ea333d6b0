"""Whether the catalogue says anything of what users did, and whether terms stand in more than one item."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import CheckSettings
from recsae_lib.platform.warehouse.data_checks import check_catalogue, check_derived_features, check_terms


@pytest.mark.parametrize(
    ("used", "severities"),
    [(["a"] * 9 + ["bare"], []), (["a"] * 5 + ["bare"] * 5, ["warn"]), (["a"] * 4 + ["gone"] * 6, ["fail", "warn"])],
)
def test_interactions_of_items_without_text_fail_or_warn(
    spark: SparkSession, used: list[str], severities: list[str]
) -> None:
    interactions = spark.createDataFrame([(item,) for item in used], "item_id string")
    rows = [("a", "", ["Drama"]), ("bare", " ", []), ("null", None, None)]
    items = spark.createDataFrame(rows, "item_id string, text string, features array<string>")
    results = check_catalogue(interactions, items, CheckSettings())
    assert [result.severity for result in results if not result.passed] == severities
    assert {result.detail for result in results} == {f"{used.count('a')} of 10"}


@pytest.mark.parametrize(("items", "passed"), [([1] * 19 + [2], True), ([1] * 21 + [2], False), ([], False)])
def test_terms_that_stand_in_one_item_each_warn(spark: SparkSession, items: list[int], passed: bool) -> None:
    terms = spark.createDataFrame([("t", number) for number in items], "term string, items int")
    (result,) = check_terms(terms, CheckSettings())
    assert (result.severity, result.passed) == ("warn", passed)
    assert result.detail == f"{items.count(2)} of {len(items)}"


def test_the_check_says_how_many_items_have_each_derived_kind(spark: SparkSession) -> None:
    good = [(["released: 1980s", "city: A", "city: B"],), (["city: A"],), ([],), (None,)]
    bad = [*good, (["x: " + "y" * 98],), (["city: \x1b"],)]
    for rows, violations, detail in (
        (good, 0, "'city' of 2 items, 'released' of 1 items"),
        (bad, 2, "'city' of 3 items, 'released' of 1 items, 'x' of 1 items"),
        ([(None,)], 0, "there are none"),
    ):
        (result,) = check_derived_features(spark.createDataFrame(rows, "derived_features array<string>"))
        assert (result.violations, result.severity, result.detail) == (violations, "warn", detail)
