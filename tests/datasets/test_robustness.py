"""What real files hold: strange ids, one of everything, a third of rubbish."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.reading import Dataset, read_dataset

IDS = [
    "with blank",
    '"quoted"',
    "ключ",
    "👩‍👩‍👧",
    "a/b?c=%20&d",
    "x" * 200,
    "'; DROP TABLE items",
    "Null",  # NULL would be no id
    "0",
    "00",
    "\\",
    "[1]",
]


def write_and_read(spark: SparkSession, folder: Path, ratings: list[str], items: list[str]) -> Dataset:
    (folder / "x.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\trating:float\ttimestamp:float", *ratings])
    )
    (folder / "x.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *items]))
    return read_dataset(spark, DatasetSettings(format="recbole", path=str(folder)), folder)


def test_ids_are_any_text_and_stay_what_they_are(spark: SparkSession, tmp_path: Path) -> None:
    ratings = [f"{name}\t{name}\t1\t5" for name in IDS]
    dataset = write_and_read(spark, tmp_path, ratings, [f"{name}\ttitle" for name in IDS])
    assert {tuple(row) for row in dataset.interactions.select("user_id", "item_id").collect()} == {(i, i) for i in IDS}
    assert {row["item_id"] for row in dataset.items.collect()} == set(IDS)
    assert dataset.rejects.count() == 0


def test_one_user_with_one_item_is_a_data_set(spark: SparkSession, tmp_path: Path) -> None:
    dataset = write_and_read(spark, tmp_path, ["u\ti\t1\t5"], ["i\tt"])
    assert (dataset.interactions.count(), dataset.items.count(), dataset.rejects.count()) == (1, 1, 0)


def test_equal_times_keep_the_order_of_the_lines(spark: SparkSession, tmp_path: Path) -> None:
    dataset = write_and_read(spark, tmp_path, [f"u\t{item}\t1\t5" for item in "zaymb"], ["a\tt"])
    ordered = dataset.interactions.orderBy("ts", "source_order", "item_id").collect()
    assert "".join(row["item_id"] for row in ordered) == "zaymb"


def test_of_a_third_of_rubbish_every_line_is_accounted_for(spark: SparkSession, tmp_path: Path) -> None:
    rubbish = ["u", "\t\t\t", "u\ti\tx\t5", "u\ti\t1\t-1", "u\ti\t1\t5\t6", "u\t \t1\t5"]
    ratings = [rubbish[n % 6] if n % 10 < 3 else f"u{n % 50}\ti{n}\t1\t5" for n in range(2000)]
    dataset = write_and_read(spark, tmp_path, ratings, ["i1\tt"])
    lines = {row["line"] for row in dataset.rejects.collect()}
    assert lines == {n + 2 for n in range(2000) if n % 10 < 3}
    assert dataset.interactions.count() == 1400
