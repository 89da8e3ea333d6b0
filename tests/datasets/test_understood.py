from __future__ import annotations

from datetime import datetime, timezone

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.understood import understood

ITEMS = "item_id string, title string, text string, features array<string>, derived_features array<string>"


def test_a_person_sees_ids_times_items_and_features(spark: SparkSession) -> None:
    interactions = spark.createDataFrame(
        [("u1", "1.0", datetime(2020, 9, 13)), ("u23", "2.0", datetime(2020, 9, 15, 6)), ("\x1b[31m", "2.0", None)],
        "user_id string, item_id string, ts timestamp",
    )
    items = spark.createDataFrame(
        [
            ("1.0", "Red shoe", "Red shoe", ["Shoes", "Red"], ["released: 1980s", "city: A", "city: B"]),
            ("2.0", "", "", [], ["city: A", "\x1b[2J: x"]),
            ("A-7", "Hat", "x" * 90, ["Red"], None),
        ],
        ITEMS,
    )
    assert understood(interactions, items, 1200) == [
        "3 users: 2 of the shape 'a9', such as 'u1'; 1 of the shape '\\x1b[9a', such as '\\x1b[31m'",
        "3 items: 2 of the shape '9.9', such as '1.0'; 1 of the shape 'a-9', such as 'A-7'",
        "times from 2020-09-13 00:00:00 to 2020-09-15 06:00:00",
        "items: '1.0' has the title 'Red shoe', the text 'Red shoe' and the features 'Shoes', 'Red'; "
        f"'A-7' has the title 'Hat', the text '{'x' * 60}' and the features 'Red'; "
        "'2.0' has the title '', the text '' and the features none",
        "2 features, most often 'Red' (2 items), 'Shoes' (1 items)",
        "derived features: 'city' of 2 items, '\\x1b[2J' of 1 items, 'released' of 1 items",
        "1,200 items held control characters or invisible ones in title, text or features: these are taken out",
    ]


def test_times_of_1970_are_doubted_unless_there_are_none(spark: SparkSession) -> None:
    items = spark.createDataFrame([], ITEMS)
    nothing = items.select(F.col("item_id").alias("user_id"), "item_id", F.current_timestamp().alias("ts"))
    assert "derived features: none" in understood(nothing, items, 0)
    said = []
    for last in (0, 44087):
        rows = [("u", "i", datetime.fromtimestamp(last, timezone.utc))]
        said.append(
            understood(spark.createDataFrame(rows, "user_id string, item_id string, ts timestamp"), items, 0)[2]
        )
    assert said == [
        "times from 1970-01-01 00:00:00 to 1970-01-01 00:00:00",
        "times from 1970-01-01 12:14:47 to 1970-01-01 12:14:47: were they of another unit, or are they none?",
    ]
