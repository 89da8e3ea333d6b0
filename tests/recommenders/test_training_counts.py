"""Training counts against those of the histories that a recommender is trained on."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.training_counts import training_counts
from recsae_lib.recommenders.training_data import prepare_training_data

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
COLUMNS = "user_id string, item_id string, ts timestamp, source_order bigint"
HOURS_60, HOURS_80 = (int((START + timedelta(hours=hours)).timestamp()) * 1_000_000 for hours in (60, 80))


@pytest.mark.parametrize("split", [Split(), Split(HOURS_60, HOURS_80)], ids=["leave_one_out", "time"])
def test_counts_are_those_of_the_training_histories(spark: SparkSession, tmp_path: Path, split: Split) -> None:
    draw = random.Random(3)
    rows = [
        (f"u{user}", f"i{draw.randrange(9)}", START + timedelta(hours=draw.randrange(12) * 9), draw.randrange(3))
        for user in range(40)
        for _ in range(draw.randrange(1, 7))
    ]
    frame = spark.createDataFrame(rows, COLUMNS).repartition(3)
    (tmp_path / "model").mkdir()
    histories = prepare_training_data(frame, split, tmp_path / "model", str(tmp_path / "bulk"), user_vocabulary=False)
    items = sorted({row[1] for row in rows})
    expected = Counter(items[index] for index in histories.training_part().items.tolist())
    assert {row["item_id"]: row["interactions"] for row in training_counts(frame, split).collect()} == expected


def test_dev_and_test_items_do_not_count(spark: SparkSession) -> None:
    histories = {"long": "abcd", "three": "abc", "two": "bd", "one": "d"}
    rows = [
        (user, item, START + timedelta(hours=place), 0)
        for user, history in histories.items()
        for place, item in enumerate(history)
    ]
    counts = training_counts(spark.createDataFrame(rows, COLUMNS), Split()).collect()
    # long trains on a and b, three on a; histories of two or one hold nothing out.
    assert sorted(map(tuple, counts)) == [("a", 2), ("b", 2), ("d", 2)]
