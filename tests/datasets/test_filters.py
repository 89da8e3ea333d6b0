"""Filters against a plain Python fixed point and literal rows."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.config import DatasetSettings, FilterSettings
from recsae_lib.datasets.filters import filter_interactions, interactions_of_core, latest_interactions
from recsae_lib.datasets.reading import read_dataset
from recsae_lib.errors import InputError

Row = tuple[str, str, float, datetime, int]
SCHEMA = "user_id STRING, item_id STRING, weight DOUBLE, ts TIMESTAMP, source_order LONG"


def frame(spark: SparkSession, rows: list[Row], partitions: int = 2) -> DataFrame:
    return spark.createDataFrame(rows, SCHEMA).repartition(partitions)


def row(user: str, item: str, weight: float = 1.0, day: int = 1, place: int = 0) -> Row:
    return (user, item, float(weight), datetime(2020, 1, day), place)


def persisted(spark: SparkSession) -> set[int]:
    return set(spark.sparkContext._jsc.getPersistentRDDs())  # type: ignore[union-attr]


def core_in_python(pairs: set[tuple[str, str]], core: int) -> set[tuple[str, str]]:
    """Leave out one user or item at a time: another way to the same set."""
    while True:
        of_user, of_item = defaultdict(set), defaultdict(set)
        for user, item in pairs:
            of_user[user].add(item)
            of_item[item].add(user)
        rare_user = next((user for user, items in sorted(of_user.items()) if len(items) < core), None)
        rare_item = next((item for item, users in sorted(of_item.items()) if len(users) < core), None)
        if rare_user is not None:
            pairs = {pair for pair in pairs if pair[0] != rare_user}
        elif rare_item is not None:
            pairs = {pair for pair in pairs if pair[1] != rare_item}
        else:
            return pairs


@pytest.mark.parametrize(("seed", "core"), [(0, 2), (1, 3)])
def test_the_core_is_the_fixed_point_whatever_the_partitions(spark: SparkSession, seed: int, core: int) -> None:
    random = np.random.default_rng(seed)
    drawn = zip(random.zipf(1.4, 260) % 60, random.zipf(1.3, 260) % 50, random.integers(1, 28, 260), strict=True)
    rows = [row(f"u{user}", f"i{item}", day=int(day)) for user, item, day in set(drawn)]
    pairs = {(user, item) for user, item, *_ in rows}
    expected = sorted(each for each in rows if each[:2] in core_in_python(pairs, core))
    assert 0 < len(expected) < len(rows)
    before = persisted(spark)
    kept = interactions_of_core(frame(spark, rows, 1 + 2 * seed), core)
    assert sorted(tuple(each) for each in kept.collect()) == expected
    assert kept.columns == ["user_id", "item_id", "weight", "ts", "source_order"]
    assert len(persisted(spark) - before) == 1  # no round is left on disk but the last
    kept.unpersist()


def test_partners_count_once_however_often_they_meet(spark: SparkSession) -> None:
    twice = [row("u", "a", day=1), row("u", "a", day=2), row("v", "a", day=1), row("v", "a", day=2)]
    assert interactions_of_core(frame(spark, twice), 2).count() == 0
    square = [*twice, row("u", "b"), row("v", "b")]
    assert interactions_of_core(frame(spark, square), 2).count() == 6


def test_the_latest_are_told_by_time_then_place_then_item(spark: SparkSession) -> None:
    rows = [
        row("u", "a", day=3, place=2),
        row("u", "b", day=3, place=1),
        row("u", "c", day=9, place=0),
        row("v", "b", day=3, place=2),
        row("v", "d", day=3, place=2),
        row("v", "c", day=9, place=0),
        row("w", "a", day=1),
        *[row("x", item) for item in "cahfbegd"],
    ]
    kept = latest_interactions(frame(spark, rows), 2).select("user_id", "item_id").collect()
    assert sorted(tuple(each) for each in kept) == [
        ("u", "a"),
        ("u", "c"),
        ("v", "c"),
        ("v", "d"),
        ("w", "a"),
        ("x", "g"),
        ("x", "h"),
    ]


def test_weight_comes_before_latest_and_the_core_last(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        row("u", "a", 5, day=1),
        row("u", "b", 4, day=2),
        row("u", "c", 5, day=3),
        row("u", "z", 1, day=9),
        row("v", "b", 5, day=4),
        row("v", "c", 5, day=5),
        row("v", "z", 5, day=1),
    ]
    with caplog.at_level(logging.INFO, "recsae"):
        kept, count = filter_interactions(
            frame(spark, rows), FilterSettings(minimum_weight=4, latest=2, core=2), len(rows)
        )
    assert sorted(tuple(each) for each in kept.select("user_id", "item_id").collect()) == [
        ("u", "b"),
        ("u", "c"),
        ("v", "b"),
        ("v", "c"),
    ]
    assert count == 4
    assert [record.message for record in caplog.records] == [
        "filter minimum_weight = 4: 7 → 6 interactions",
        "filter latest = 2: 6 → 4 interactions",
        "filter core = 2: 4 → 4 interactions",
    ]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"minimum_weight": 6}, r"dataset\.filters\.minimum_weight = 6 leaves none of 2 interactions"),
        ({"core": 3}, r"dataset\.filters\.core = 3 leaves none of 2 interactions"),
    ],
)
def test_a_filter_that_leaves_nothing_is_named(spark: SparkSession, filters: dict[str, int], message: str) -> None:
    rows = frame(spark, [row("u", "a"), row("u", "b")])
    with pytest.raises(InputError, match=message):
        filter_interactions(rows, FilterSettings(**filters), 2)


@pytest.mark.integration
def test_a_core_removes_items_without_interactions(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ratings = ["1,10,4,5", "1,20,4,6", "2,10,4,7", "2,20,5,8", "2,30,1,9", "1,10,4,99", "3,40,2,9"]
    (tmp_path / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings]) + "\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n10,A &amp; B,X\n30,C,X\n50,(1999),(no genres listed)\n")

    def items(**filters: float) -> list[str]:
        settings = DatasetSettings(format="movielens_csv", path=str(tmp_path), filters=filters)
        dataset = read_dataset(spark, settings, tmp_path)
        try:
            return sorted(each["item_id"] for each in dataset.items.collect())
        finally:
            dataset.release()

    before = persisted(spark)
    with caplog.at_level(logging.INFO, "recsae"):
        assert items(core=2) == ["10", "20"]
    assert [record.message for record in caplog.records] == [
        "7 interactions accepted, 1 of them of a user with an item again",
        "filter core = 2: 7 → 5 interactions",
        "1 items of interactions are not in the catalogue: added without text and features",
        "2 items, 1 without text and features, 1 with HTML entities, which are unescaped",
    ]
    assert items(minimum_weight=4) == ["10", "20", "30", "50"]  # 40 is neither listed nor used
    assert persisted(spark) <= before
