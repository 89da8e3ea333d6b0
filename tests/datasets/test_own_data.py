"""What people bring as their own data: logs of plays, ids that are words for none or folder names, floats as ids."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.parsing.values import as_id
from recsae_lib.datasets.reading import Dataset, read_dataset
from recsae_lib.errors import InputError

Read = Callable[..., Dataset]


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    (tmp_path / "items.csv").write_text("item_id,title,features\na,Text,f\nb,Text,f\n0001,Text,f\n")
    return lambda **settings: read_dataset(
        spark, DatasetSettings(items=f"{tmp_path}/items.csv", **{"format": "csv", **settings}), tmp_path / "cache"
    )


PLAYS = (
    "user_id,item_id,n,day\nu,a,1,2020-01-02\nu,b,2,2020-01-02\nu,a,4,2020-01-02\nu,a,8,2020-01-03\n,a,1,2020-01-02\n"
)


@pytest.mark.parametrize(
    ("repeats", "by_day", "without_time"),
    [
        ("reject", [("a", 1.0, 2), ("b", 2.0, 3), ("a", 8.0, 5)], [("a", 1.0, 2), ("b", 2.0, 3)]),
        ("last", [("b", 2.0, 3), ("a", 4.0, 4), ("a", 8.0, 5)], [("b", 2.0, 3), ("a", 8.0, 5)]),
        ("sum", [("b", 2.0, 3), ("a", 5.0, 4), ("a", 8.0, 5)], [("b", 2.0, 3), ("a", 13.0, 5)]),
    ],
)
def test_repeats_are_rejected_or_the_last_one_stays(
    read: Read,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    repeats: str,
    by_day: list[tuple[str, float, int]],
    without_time: list[tuple[str, float, int]],
) -> None:
    (tmp_path / "plays.csv").write_text(PLAYS)
    for ts, expected in (("day", by_day), (None, without_time)):
        caplog.clear()
        with caplog.at_level("INFO", "recsae"):
            columns = {"weight": "n", "ts": ts}
            dataset = read(interactions=f"{tmp_path}/plays.csv", repeats=repeats, columns=columns)
        rows = dataset.interactions.orderBy("ts", "source_order").select("item_id", "weight", "source_order").collect()
        assert [tuple(row) for row in rows] == expected
        refused = [row["line"] for row in dataset.rejects.orderBy("line").collect()]
        assert refused == ([4, 6] if ts else [4, 5, 6]) if repeats == "reject" else refused == [6]
        returning = 1 if ts else 0
        assert caplog.messages[0] == (
            f"{len(expected)} interactions accepted, {returning} of them of a user with an item again"
        )


def test_without_lines_the_largest_of_repeated_rows_is_the_last(
    spark: SparkSession, read: Read, tmp_path: Path
) -> None:
    rows = [("u", "a", weight) for weight in (3.0, 7.0, 5.0)]
    spark.createDataFrame(rows, "user_id string, item_id string, n double").write.parquet(f"{tmp_path}/i")
    spark.read.csv(f"{tmp_path}/items.csv", header=True).write.parquet(f"{tmp_path}/c")
    for repeats, weight in (("last", 7.0), ("sum", 15.0)):
        settings = DatasetSettings(
            format="parquet",
            interactions=f"{tmp_path}/i",
            items=f"{tmp_path}/c",
            columns={"ts": None, "weight": "n"},
            repeats=repeats,
        )
        (row,) = read_dataset(spark, settings, tmp_path).interactions.collect()
        assert row["weight"] == weight


def test_words_for_no_value_are_no_ids_and_no_text(read: Read, tmp_path: Path) -> None:
    words = ["nan", "NaN", "None", "null", "NULL", "NA", "<NA>", "\\N", "N/A", "undefined", "NaT"]
    lines = [f"{word},a,5" for word in words] + ["u,None,5", "Nana,a,5", "Null,a,5"]
    (tmp_path / "i.csv").write_text("\n".join(["user_id,item_id,ts", *lines]) + "\n")
    (tmp_path / "items.csv").write_text("item_id,title,features\na,nan,\\N\nnan,x,y\n")
    dataset = read(interactions=f"{tmp_path}/i.csv")
    assert {row["user_id"] for row in dataset.interactions.collect()} == {"Nana", "Null"}
    assert [(row["title"], row["text"], row["features"]) for row in dataset.items.collect()] == [("", "", [])]
    reasons = [row["reason"] for row in dataset.rejects.collect()]
    assert (reasons.count("the user id is missing"), reasons.count("the item id is missing")) == (11, 2)


def test_ids_in_folder_names_stay_text(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.createDataFrame([("u", 5, "0001"), ("u", 6, "0010")], "user_id string, ts int, item_id string")
    rows.write.partitionBy("item_id").parquet(f"{tmp_path}/i")
    items = spark.createDataFrame([("0001", "t", "f")], "item_id string, title string, features string")
    items.write.parquet(f"{tmp_path}/c")
    settings = DatasetSettings(format="parquet", interactions=f"{tmp_path}/i", items=f"{tmp_path}/c")
    dataset = read_dataset(spark, settings, tmp_path)
    assert sorted(row["item_id"] for row in dataset.interactions.collect()) == ["0001", "0010"]


def test_a_float_is_no_id_and_no_text_is_to_be_made_of_it(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.createDataFrame([("u", 12.0, 5)], "user_id string, item_id double, ts int")
    rows.write.parquet(f"{tmp_path}/i")
    columns = {"title": None, "features": None}
    settings = DatasetSettings(format="parquet", interactions=f"{tmp_path}/i", items=f"{tmp_path}/i", columns=columns)
    with pytest.raises(InputError) as failure:
        read_dataset(spark, settings, tmp_path)
    assert str(failure.value) == (
        "Column 'item_id' is double, but an id is text or a whole number. Cast it to a whole number (BIGINT) in your "
        "table; as text at once 12 would be '12.0', which joins nothing."
    )


def test_a_decimal_number_is_an_id_where_it_is_whole(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(Decimal("12.000000000"),), (Decimal("12.5"),)], "id decimal(38,9)")
    read_as = as_id("id", (F.col("id"), rows.schema["id"].dataType))
    assert [row["text"] for row in rows.select(read_as.alias("text")).collect()] == ["12", None]


def test_features_with_commas_are_split_where_none_has_a_bar(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("user_id,item_id,ts\nu,a,5\n")
    lines = ["item_id,title,features", 'a,x,"Action, Comedy"', 'b,y,"[""Drama"", ""War|Love""]"', "c,z,[]", "d,w,null"]
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    expected = {"a": ["Action", "Comedy"], "b": ["Drama", "War|Love"], "c": [], "d": []}
    assert {
        row["item_id"]: row["features"] for row in read(interactions=f"{tmp_path}/i.csv").items.collect()
    } == expected
    one = read(interactions=f"{tmp_path}/i.csv", feature_separator="|").items.where("item_id = 'a'").first()
    assert one is not None
    assert one["features"] == ["Action, Comedy"]
