"""Data of every format that would steer a terminal or hide what it says: texts are cleaned, ids are refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.reading import read_dataset
from recsae_lib.platform.warehouse.data_checks import check_texts

IDS = ["i0", "i1", "i0\x1b", "i0\u200b", "\u202ei1", "i\x9b1"]  # the last four would be i0, i1 or both
TITLES = ["\x1b[2JToy", "Story\u202e", "c", "d", "e", "f"]
FEATURES = ["A\x07|B", "\u2066A\u2069|B", *["A"] * 4]
FORMATS = ("csv", "parquet", "table", "recbole", "amazon_2018", "movielens_csv")


def settings_of(spark: SparkSession, format_: str, folder: Path) -> DatasetSettings:
    """Write the same data in a format: each user u has each item; what the format cannot hold is left out."""
    items = list(zip(IDS, TITLES, FEATURES, strict=True))
    match format_:
        case "csv":
            (folder / "i.csv").write_text("user_id,item_id,ts\n" + "".join(f"u,{name},5\n" for name in IDS))
            (folder / "c.csv").write_text("item_id,title,features\n" + "".join(f"{','.join(item)}\n" for item in items))
            return DatasetSettings(format="csv", interactions=f"{folder}/i.csv", items=f"{folder}/c.csv")
        case "parquet" | "table":
            interactions = spark.createDataFrame(
                [("u", name, 5) for name in IDS], "user_id string, item_id string, ts int"
            )
            catalogue = spark.createDataFrame(items, "item_id string, title string, features string")
            if format_ == "parquet":
                interactions.write.parquet(f"{folder}/i")
                catalogue.write.parquet(f"{folder}/c")
                return DatasetSettings(format="parquet", interactions=f"{folder}/i", items=f"{folder}/c")
            interactions.createOrReplaceTempView("hostile_interactions")
            catalogue.createOrReplaceTempView("hostile_items")
            return DatasetSettings(format="table", interactions="hostile_interactions", items="hostile_items")
        case "recbole":
            (folder / "x.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"u\t{name}\n" for name in IDS))
            rows = [f"{name}\t{title}\t{features.replace('|', ' ')}\n" for name, title, features in items]
            (folder / "x.item").write_text("item_id:token\ttitle:token_seq\tgenre:token_seq\n" + "".join(rows))
        case "amazon_2018":
            review = {"overall": 4.0, "reviewerID": "u", "unixReviewTime": 1400457600}
            reviews = [json.dumps({**review, "asin": name}) for name in IDS]
            rows = [
                json.dumps({"asin": name, "title": title, "category": features.split("|")})
                for name, title, features in items
            ]
            (folder / "Toys.json").write_text("\n".join(reviews))
            (folder / "meta_Toys.json").write_text("\n".join(rows))
        case "movielens_csv":
            ratings = [f"u,{name},4,978300760\n" for name in IDS]
            (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(ratings))
            rows = [f"{','.join(item)}\n" for item in items]
            (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(rows))
    return DatasetSettings(format=format_, path=str(folder))


@pytest.mark.parametrize("format_", FORMATS)
def test_texts_are_cleaned_and_ids_refused_in_every_format(spark: SparkSession, tmp_path: Path, format_: str) -> None:
    dataset = read_dataset(spark, settings_of(spark, format_, tmp_path), tmp_path / "cache")
    items = {row["item_id"]: (row["title"], sorted(row["features"])) for row in dataset.items.collect()}
    assert items == {"i0": ("[2JToy", ["A", "B"]), "i1": ("Story", ["A", "B"])}
    assert sorted(row["item_id"] for row in dataset.interactions.collect()) == ["i0", "i1"]
    assert dataset.hiding == 2
    refused = Counter((row["source"], row["reason"]) for row in dataset.rejects.collect())
    reason = "the item id holds control characters or invisible ones"
    assert refused == {("interactions", reason): 4, ("items", reason): 4}
    (checked,) = check_texts(dataset.items)
    assert checked.passed


def test_what_entities_spell_is_cleaned_too(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("user_id,item_id,ts\nu,a,5\n")
    (tmp_path / "c.csv").write_text("item_id,title,features\na,&#8238;gnp&#x200b; &rlm;exe,A&shy;B|AB\n")
    settings = DatasetSettings(format="csv", interactions=f"{tmp_path}/i.csv", items=f"{tmp_path}/c.csv")
    dataset = read_dataset(spark, settings, tmp_path)
    (item,) = dataset.items.collect()
    assert (item["title"], item["features"], dataset.hiding) == ("gnp  exe", ["AB"], 1)


def test_a_check_counts_items_that_hide_something(spark: SparkSession) -> None:
    rows = [
        ("a\x1b", "t", "t", ["f"]),
        ("b", "t\u202e", "t", ["f"]),
        ("c", "t", "t", ["f\x00"]),
        ("d", "t", "t", ["f"]),
    ]
    items = spark.createDataFrame(rows, "item_id string, title string, text string, features array<string>")
    (result,) = check_texts(items)
    assert (result.passed, result.severity, result.detail) == (False, "warn", "3 items")
