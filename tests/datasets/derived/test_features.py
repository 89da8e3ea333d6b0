"""Items with all derived features, each switched by its setting."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import DerivedFeatureSettings
from recsae_lib.datasets.derived.features import with_derived_features
from recsae_lib.platform.warehouse.schemas import discrepancies
from recsae_lib.platform.warehouse.tables import ITEMS

CATALOGUE = (
    "item_id string, title string, text string, features array<string>, released int, "
    "attributes array<struct<name:string,value:string>>"
)
ITEMS_GIVEN = [
    ("a", "A (1994)", "A", ["Drama"], None, [("city", "Phoenix"), ("city", "Phoenix"), ("price", "2")]),
    ("b", "B", "B", [], 1995, []),
    ("c", "C", "C", [], None, None),  # without training interactions
]
COUNTS = [("a", 9), ("b", 1), ("not in the catalogue", 1)]


def derived(spark: SparkSession, items: list[Any] = ITEMS_GIVEN, **settings: Any) -> dict[str, list[str]]:
    frame, counts = (
        spark.createDataFrame(items, CATALOGUE),
        spark.createDataFrame(COUNTS, "item_id string, interactions long"),
    )
    completed = with_derived_features(frame, counts, DerivedFeatureSettings(**settings), 2026)
    try:
        assert discrepancies(ITEMS.schema, completed.schema) == []
        rows = completed.collect()
        assert {row["item_id"]: row["features"] for row in rows} == {item[0]: item[3] for item in items}
        return {row["item_id"]: row["derived_features"] for row in rows}
    finally:
        completed.unpersist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {},
            {
                "a": ["released: 1994-1995", "popularity: highest", "city: Phoenix", "price: 2"],
                "b": ["released: 1994-1995", "popularity: lowest"],
                "c": ["popularity: lowest"],
            },
        ),
        (
            {"popularity_tier": False},
            {"a": ["released: 1994-1995", "city: Phoenix", "price: 2"], "b": ["released: 1994-1995"], "c": []},
        ),
        (
            {"release_period": "never", "attributes": False},
            {"a": ["popularity: highest"], "b": ["popularity: lowest"], "c": ["popularity: lowest"]},
        ),
        (
            {"release_period": "never", "attributes": False, "popularity_tier": False},
            {"a": [], "b": [], "c": []},
        ),
    ],
    ids=["all", "no_popularity", "popularity_alone", "none"],
)
def test_each_kind_has_its_setting(
    spark: SparkSession, settings: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    assert derived(spark, **settings) == expected


def test_periods_are_left_out_where_most_items_have_no_year(spark: SparkSession) -> None:
    items = [*ITEMS_GIVEN, ("d", "D", "", [], 1000, None), ("e", "E", "", [], None, None)]
    found = derived(spark, items, popularity_tier=False)
    assert found == {"a": ["city: Phoenix", "price: 2"], "b": [], "c": [], "d": [], "e": []}


def test_no_items_have_no_derived_features(spark: SparkSession) -> None:
    assert derived(spark, []) == {}
