"""A catalogue that does not join is refused with ids of both sides and the likely cause."""

from __future__ import annotations

import logging

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.config import CheckSettings
from recsae_lib.datasets.joining import require_joined
from recsae_lib.errors import InputError

CATALOGUE = "item_id string, title string, text string, features array<string>"


def interactions_with(spark: SparkSession, ids: list[str]) -> DataFrame:
    return spark.createDataFrame([(f"u{n}", item) for n, item in enumerate(ids)], "user_id string, item_id string")


def no_rejects(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], "source string, file string, line long, reason string, record string")


def catalogue_of(spark: SparkSession, ids: list[str], text: str = "words") -> DataFrame:
    return spark.createDataFrame([(item, f"title {item}", text, []) for item in ids], CATALOGUE)


@pytest.mark.parametrize(
    ("ours", "theirs", "cause"),
    [
        (["1.0", "2.0", "3.00"], ["1", "2", "3"], "One side has '.0' at its end: 3 of 3 missing ids would join"),
        (["i1", "i2"], ["i1.0", "i2.0"], "One side has '.0' at its end: 2 of 2"),
        (["1", "20"], ["0001", "0020"], "One side has lost its leading zeros: 2 of 2"),
        (["a1", "b2"], ["A1", "B2"], "The ids differ in upper and lower case: 2 of 2"),
        (["a 1", "b\u200b2"], ["a1", "b2"], "Blanks or invisible characters stand in the ids: 2 of 2"),
        (["a-1", "'b2'"], ["a_1", "b2"], "The ids differ in signs such as - _ or quotes: 2 of 2"),
        (["a-01.0", "B-02.0"], ["A_01", "b_02"], "The ids differ in case, zeros, signs or '.0' at once: 2 of 2"),
        (["title 7", "title 8"], ["7", "8"], "The interactions hold titles: 2 of 2"),
        (["x", "y"], ["7", "8"], "No id of one side is like one of the other. Check dataset.columns.item_id"),
    ],
)
def test_ids_of_both_sides_and_the_cause_are_told(
    spark: SparkSession, ours: list[str], theirs: list[str], cause: str
) -> None:
    with pytest.raises(InputError) as failure:
        require_joined(interactions_with(spark, ours), catalogue_of(spark, theirs), no_rejects(spark), CheckSettings())
    said = str(failure.value)
    assert said.startswith(f"The catalogue does not join: 0 of {len(ours)} interactions (0%) are of items with text")
    assert f"interactions have {', '.join(map(repr, sorted(ours)))}, the catalogue has {theirs[0]!r}, " in said
    assert cause in said


def test_the_share_is_of_interactions_not_of_items(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    often = interactions_with(spark, ["1"] * 8 + ["2.0", "3.0"])  # two of three items do not join
    with caplog.at_level(logging.INFO, "recsae"):
        require_joined(often, catalogue_of(spark, ["1", "2", "3"]), no_rejects(spark), CheckSettings())
    ((name, level, said),) = caplog.record_tuples
    assert (name, level) == ("recsae", logging.WARNING)
    assert said == (
        "8 of 10 interactions (80%) are of items with text or features; 2 are of items that are not in the catalogue: "
        "interactions have '2.0', '3.0', the catalogue has '2', '3'. One side has '.0' at its end: 2 of 2 missing ids "
        "would join without that. Write the ids as whole numbers: they went through a float"
    )
    with pytest.raises(InputError, match=r"8 of 10 .*checks\.fail_described_share is 0\.85"):
        require_joined(
            often, catalogue_of(spark, ["1", "2", "3"]), no_rejects(spark), CheckSettings(fail_described_share=0.85)
        )


def test_items_without_text_are_told_apart_from_missing_ones(spark: SparkSession) -> None:
    settings = CheckSettings(fail_described_share=0.0)  # fails all the same where nothing can be named
    with pytest.raises(InputError) as failure:
        require_joined(
            interactions_with(spark, ["1", "2", "x"]), catalogue_of(spark, ["1", "2"], " "), no_rejects(spark), settings
        )
    assert "2 are of items that the catalogue lists with neither text nor features; 1 are of items that are not in" in (
        str(failure.value)
    )
    assert "Give the item table a title, a text or features" in str(failure.value)


def test_a_catalogue_that_joins_is_said_in_one_line(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "recsae"):
        require_joined(
            interactions_with(spark, ["1", "2"]), catalogue_of(spark, ["1", "2"]), no_rejects(spark), CheckSettings()
        )
    assert caplog.messages == ["2 of 2 interactions (100%) are of items with text or features"]
