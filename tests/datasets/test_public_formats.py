"""Last.fm, Amazon, Yelp and MovieLens 10M from tiny files with bad rows of each kind to the three tables."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.formats.amazon import price_band
from recsae_lib.datasets.parsing.python_literals import LONGEST_LITERAL, NO_OBJECT, TOO_LONG
from recsae_lib.datasets.reading import Dataset, read_dataset
from recsae_lib.errors import InputError

Read = Callable[..., Dataset]
NOT_OBJECT = "the line is not a JSON object"


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    return lambda format_: read_dataset(spark, DatasetSettings(format=format_, path=str(tmp_path)), tmp_path / "cache")


def interactions_of(dataset: Dataset) -> list[tuple[str, str, float, str]]:
    rows = dataset.interactions.select("user_id", "item_id", "weight", F.col("ts").cast("string"))
    return sorted(tuple(row) for row in rows.collect())


def items_of(dataset: Dataset) -> list[tuple[str, str, str, list[str]]]:
    return sorted(tuple(row) for row in dataset.items.select("item_id", "title", "text", "features").collect())


def attributes_of(dataset: Dataset) -> dict[str, list[tuple[str, str]]]:
    rows = dataset.items.select("item_id", "attributes").collect()
    return {row["item_id"]: [tuple(one) for one in row["attributes"] or []] for row in rows}


def rejects_of(dataset: Dataset) -> list[tuple[str, str, int, str]]:
    rows = dataset.rejects.select("source", "file", "line", "reason").collect()
    return sorted((tuple(row) for row in rows), key=lambda row: row[1:3])


def lines(*rows: object) -> bytes:
    """A file of JSON lines; bytes and text stand for themselves."""
    texts = [
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    ]
    return b"".join(text + b"\n" for text in texts)


@pytest.mark.integration
def test_lastfm_gives_tags_of_two_users_and_an_order_by_hash(read: Read, tmp_path: Path) -> None:
    (tmp_path / "user_artists.dat").write_bytes(
        b"userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n2\t53\t100\r\n2\t54\t1\r\n3\t51\t7\r\n"
        b"2\t51\t5\r\n2\t55\tmany\r\n2\t55\r\n"
    )
    (tmp_path / "artists.dat").write_text(
        "id\tname\turl\tpictureURL\n51\tSigur Rós\thttp://x\thttp://y\n"
        '52\t(unknown) "x"\t\t\n53\tDuran\tu\tv\n\tX\tu\tv\n'
    )
    (tmp_path / "tags.dat").write_bytes(
        "tagID\ttagValue\r\n1\tmetal\r\n2\t fußball \r\n3\tMetal\r\n4\talone\r\n4\ttwice\r\n5\t \r\n".encode("latin-1")
    )
    (tmp_path / "user_taggedartists.dat").write_text(
        "userID\tartistID\ttagID\tday\tmonth\tyear\n"
        "2\t51\t1\t1\t4\t2009\n3\t51\t3\t1\t4\t2009\n"  # one word in two spellings, by two users
        "2\t51\t2\t1\t4\t2009\n3\t51\t2\t1\t4\t2009\n4\t51\t2\t1\t4\t2009\n"
        "2\t51\t4\t1\t4\t2009\n2\t51\t4\t1\t4\t2010\n"  # twice by the same user
        "2\t52\t1\t1\t4\t2009\n2\t52\t3\t1\t4\t2009\n"  # both spellings by one user
        "3\t52\t9\t1\t4\t2009\n4\t52\t9\t1\t4\t2009\n"  # a tag that is not listed
        "2\t\t1\t1\t4\t2009\n2\t52\n"
    )
    dataset = read("lastfm_2k")
    assert interactions_of(dataset) == [
        ("2", "51", 13883.0, "1970-01-01 00:00:00"),
        ("2", "52", 11690.0, "1970-01-01 00:00:00"),
        ("2", "53", 100.0, "1970-01-01 00:00:00"),
        ("2", "54", 1.0, "1970-01-01 00:00:00"),
        ("3", "51", 7.0, "1970-01-01 00:00:00"),
    ]
    assert items_of(dataset) == [
        ("51", "Sigur Rós", "Sigur Rós", ["fußball", "metal"]),  # three users before two
        ("52", '(unknown) "x"', '(unknown) "x"', []),
        ("53", "Duran", "Duran", []),
        ("54", "", "", []),
    ]
    assert rejects_of(dataset) == [
        ("items", "artists.dat", 5, "the item id is missing"),
        ("items", "tags.dat", 6, "the tag is listed already"),
        ("items", "tags.dat", 7, "the tag is missing"),
        ("interactions", "user_artists.dat", 7, "the user has this item at this time already"),
        ("interactions", "user_artists.dat", 8, "the weight is missing or not a finite number"),
        ("interactions", "user_artists.dat", 9, "wrong number of fields"),
        ("items", "user_taggedartists.dat", 8, "the user gave the item this tag already"),
        ("items", "user_taggedartists.dat", 13, "the item id is missing"),
        ("items", "user_taggedartists.dat", 14, "wrong number of fields"),
    ]
    order = dataset.interactions.where("user_id = '2'").orderBy("source_order").select("item_id", "source_order")
    first = [tuple(row) for row in order.collect()]
    assert [row[0] for row in first] == ["54", "51", "53", "52"]  # not the order of the file
    assert all(0 <= row[1] < 2**63 for row in first)
    table = (tmp_path / "user_artists.dat").read_bytes().split(b"\r\n")
    (tmp_path / "user_artists.dat").write_bytes(b"\r\n".join([table[0], *table[5:0:-1]]) + b"\r\n")
    again = read("lastfm_2k").interactions.where("user_id = '2'").orderBy("source_order")
    assert [tuple(row) for row in again.select("item_id", "source_order").collect()] == first


def test_the_10m_release_is_read_as_utf_8(read: Read, tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::122::4.5::838985046\n1::185::5:838983525\n")
    (tmp_path / "movies.dat").write_bytes(
        "122::Amélie (2001)::Comedy|Romance\n185::Net, The (1995)::(no genres listed)\n".encode() + b"9::\xe9::Drama\n"
    )
    dataset = read("movielens_10m")
    assert interactions_of(dataset) == [("1", "122", 4.5, "1996-08-02 11:24:06")]
    assert items_of(dataset) == [
        ("122", "Amélie (2001)", "Amélie", ["Comedy", "Romance"]),
        ("185", "Net, The (1995)", "Net, The", []),
    ]
    assert rejects_of(dataset) == [
        ("items", "movies.dat", 3, "the line is not UTF-8 text"),
        ("interactions", "ratings.dat", 2, "wrong number of fields"),
    ]


def test_amazon_2014_reads_literals_and_json_and_runs_no_code(read: Read, tmp_path: Path) -> None:
    review = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1400457600, "reviewText": "é"}
    reviews = lines(
        review,
        {**review, "unixReviewTime": "1400544000"},
        "",
        b"[" + json.dumps(review).encode() + b"]",
        json.dumps(review) + json.dumps(review),
        "{'reviewerID': 'A1', 'asin': 'B1', 'overall': 1, 'unixReviewTime': 1}",
        {**review, "asin": None},
        {**review, "overall": "1e999"},
        {**review, "unixReviewTime": 99999999999999999},
        b'{"reviewerID": "\xff"}',
        "7",
        json.dumps(review) + "," + json.dumps(review),
    )
    (tmp_path / "reviews_Toys_5.json.gz").write_bytes(gzip.compress(reviews))
    mark = tmp_path / "mark"
    (tmp_path / "meta_Toys.json").write_bytes(
        lines(
            "{'asin': 'B1', 'title': u'Tom &amp; Jerry\\'s \"box\"', 'description': 'A <b>fine</b>\\n box',"
            " 'categories': [['Toys', 'Boxes'], ['Toys', 'Bed &amp; Bath']], 'price': 1.5, 'brand': None}\r",
            {"asin": "B2", "title": "Plain", "categories": [["Toys"]], "description": None},
            {"asin": "B3", "title": None, "categories": None},
            f"__import__('pathlib').Path({str(mark)!r}).touch()",
            f"{{'asin': __import__('pathlib').Path({str(mark)!r}).touch()}}",
            "{'asin': " + "[" * 100_000,
            "{'asin': 'B4', 'title': '" + "x" * 10_000_000 + "'}",
            "{'asin': 'B5', 'title': {1, 2}}",
            "['asin', 'B6']",
            b"{'asin': '\xe9'}",
            "-" * (LONGEST_LITERAL - 1) + "1",
        )
    )
    dataset = read("amazon_2014")
    assert interactions_of(dataset) == [
        ("A1", "B1", 5.0, "2014-05-19 00:00:00"),
        ("A1", "B1", 5.0, "2014-05-20 00:00:00"),
    ]
    assert items_of(dataset) == [
        ("B1", 'Tom & Jerry\'s "box"', 'Tom & Jerry\'s "box" A  fine   box', ["Toys", "Boxes", "Bed & Bath"]),
        ("B2", "Plain", "Plain", ["Toys"]),
        ("B3", "", "", []),
    ]
    assert rejects_of(dataset) == [
        ("items", "meta_Toys.json", 4, NO_OBJECT),
        ("items", "meta_Toys.json", 5, NO_OBJECT),
        ("items", "meta_Toys.json", 6, NO_OBJECT),
        ("items", "meta_Toys.json", 7, TOO_LONG),
        ("items", "meta_Toys.json", 8, NO_OBJECT),
        ("items", "meta_Toys.json", 9, NO_OBJECT),
        ("items", "meta_Toys.json", 10, "the line is not UTF-8 text"),
        ("items", "meta_Toys.json", 11, NO_OBJECT),
        *[("interactions", "reviews_Toys_5.json.gz", line, NOT_OBJECT) for line in (4, 5, 6)],
        ("interactions", "reviews_Toys_5.json.gz", 7, "the item id is missing"),
        ("interactions", "reviews_Toys_5.json.gz", 8, "the weight is missing or not a finite number"),
        ("interactions", "reviews_Toys_5.json.gz", 9, "the time is before 1970 or after 2100"),
        ("interactions", "reviews_Toys_5.json.gz", 10, "the line is not UTF-8 text"),
        *[("interactions", "reviews_Toys_5.json.gz", line, NOT_OBJECT) for line in (11, 12)],
    ]
    assert attributes_of(dataset) == {
        "B1": [
            ("price", "below 5"),
            ("category path", "Toys > Boxes"),
            ("category path", "Toys > Bed &amp; Bath"),  # derived features lose entities (`attribute_texts`)
        ],
        "B2": [],
        "B3": [],
    }
    assert not mark.exists()
    drawn = {row["source_order"] for row in dataset.interactions.collect()}  # of user and item, not of the lines
    assert len(drawn) == 1
    records = dataset.rejects.select(F.max(F.length("record")).alias("longest")).first()
    assert records is not None
    assert records["longest"] == 1000


def test_amazon_2018_reads_all_but_catalogue_files_as_reviews(read: Read, tmp_path: Path) -> None:
    review = {"overall": 4.0, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1400457600, "style": {"a": "b"}}
    (tmp_path / "Gift_Cards.json").write_bytes(lines(review))
    (tmp_path / "Toys_5.json.gz").write_bytes(gzip.compress(lines({**review, "reviewerID": "A2"}, review)))
    (tmp_path / "meta_Toys.json.gz").write_bytes(
        gzip.compress(
            lines(
                {
                    "asin": "B1",
                    "title": "One",
                    "description": ["First&#39;s. ", "", "Second."],
                    "category": ["Clothing, Shoes &amp; Jewelry", "Clothing, Shoes & Jewelry", "Men"],
                    "brand": " Acme ",
                    "price": "$1,299.99",
                },
                {
                    "asin": "B2",
                    "title": "Deep",
                    "description": "[Imported] text",
                    "category": "Music",
                    "price": ".a-box{margin:5px}",
                },
                '{"asin": "B3", "title": ' + "[" * 5000,
            )
        )
    )
    (tmp_path / "notes.txt").write_text("not read")
    dataset = read("amazon_2018")
    assert [row[:2] for row in interactions_of(dataset)] == [("A1", "B1"), ("A2", "B1")]
    assert items_of(dataset) == [
        ("B1", "One", "One First's.   Second.", ["Clothing, Shoes & Jewelry", "Men"]),
        ("B2", "Deep", "Deep [Imported] text", ["Music"]),
    ]
    root = "Clothing, Shoes &amp; Jewelry > Clothing, Shoes & Jewelry"
    assert attributes_of(dataset) == {
        "B1": [
            *[("brand", "Acme"), ("price", "200 or more")],
            *[("category path", root), ("category path", f"{root} > Men")],
        ],
        "B2": [],
    }
    assert rejects_of(dataset) == [
        ("interactions", "Toys_5.json.gz", 2, "the user has this item at this time already"),
        ("items", "meta_Toys.json.gz", 3, NOT_OBJECT),
    ]


def test_amazon_2023_reads_parent_products_and_milliseconds(read: Read, tmp_path: Path) -> None:
    review = {"rating": 4.0, "user_id": "U", "asin": "variant", "parent_asin": "P", "timestamp": 1588687728923}
    (tmp_path / "All_Beauty.jsonl").write_bytes(lines(review, {**review, "timestamp": -1}, {"rating": 4.0}))
    (tmp_path / "meta_All_Beauty.jsonl").write_bytes(
        lines(
            {
                "parent_asin": "P",
                "title": "Comb",
                "main_category": "All Beauty",
                "categories": ["Beauty", "Hair", None],
                "features": ["Wide", "Wooden"],
                "description": ["For hair."],
                "store": "Combs & Co",
                "price": 12.99,
            },
            {
                "parent_asin": "Q",
                "title": "Bare",
                "main_category": None,
                "categories": [],
                "features": [],
                "description": [],
            },
        )
    )
    dataset = read("amazon_2023")
    assert interactions_of(dataset) == [("U", "P", 4.0, "2020-05-05 14:08:48.923")]
    assert items_of(dataset) == [
        ("P", "Comb", "Comb Wide Wooden For hair.", ["All Beauty", "Beauty", "Hair"]),
        ("Q", "Bare", "Bare", []),
    ]
    assert attributes_of(dataset) == {
        "P": [("brand", "Combs & Co"), ("price", "10 to 20"), ("category path", "Beauty > Hair")],
        "Q": [],
    }
    assert rejects_of(dataset) == [
        ("interactions", "All_Beauty.jsonl", 2, "the time is before 1970 or after 2100"),
        ("interactions", "All_Beauty.jsonl", 3, "the user id is missing"),
    ]


def test_prices_of_amazon_fall_into_bands(spark: SparkSession) -> None:
    bands = {
        "0.01": "below 5",
        "4.99": "below 5",
        "5": "5 to 10",
        "9.99": "5 to 10",
        "$10.00": "10 to 20",
        "$19.99 - $60.00": "10 to 20",
        "from 20.00": "20 to 50",
        "$ 50.5": "50 to 100",
        "100": "100 to 200",
        "1,200.00": "200 or more",
        "999999999": "200 or more",
        "12.345.678": None,
        "-5": None,
        "—": None,
        "": None,
        "free": None,
    }
    frame = spark.createDataFrame([(price,) for price in [*bands, None]], "price string")
    found = [row[0] for row in frame.select(price_band(F.col("price"))).collect()]
    assert found == [*bands.values(), None]


@pytest.mark.parametrize("prefix", ["yelp_academic_dataset_", ""])
def test_yelp_reads_reviews_and_the_categories_of_businesses(read: Read, tmp_path: Path, prefix: str) -> None:
    review = {"review_id": "r", "user_id": "-_u", "business_id": "b", "stars": 3.0, "date": "2018-07-07 22:09:11"}
    (tmp_path / f"{prefix}review.json").write_bytes(lines(review, {**review, "date": "2018-13-07 22:09:11"}))
    (tmp_path / f"{prefix}business.json").write_bytes(
        lines(
            {
                "business_id": "b",
                "name": "Joe&#39;s",
                "categories": "Bars, Pubs , Bars",
                "city": "Phoenix ",
                "state": "AZ",
                "attributes": {"RestaurantsPriceRange2": "2", "WiFi": "u'free'"},
            },
            {"business_id": "c", "name": "Closed", "categories": None, "attributes": {"x": "{'a': 1}"}},
            {"business_id": "d", "city": "Goleta", "state": "", "attributes": {"RestaurantsPriceRange2": "u'3'"}},
            {"business_id": "e", "city": None, "attributes": {"RestaurantsPriceRange2": "None"}},
        )
    )
    dataset = read("yelp")
    assert interactions_of(dataset) == [("-_u", "b", 3.0, "2018-07-07 22:09:11")]
    assert items_of(dataset) == [
        ("b", "Joe's", "Joe's", ["Bars", "Pubs"]),
        ("c", "Closed", "Closed", []),
        ("d", "", "", []),
        ("e", "", "", []),
    ]
    assert attributes_of(dataset) == {
        "b": [("city", "Phoenix"), ("state", "AZ"), ("price", "2")],
        "c": [],
        "d": [("city", "Goleta"), ("price", "3")],
        "e": [],
    }
    assert rejects_of(dataset) == [("interactions", f"{prefix}review.json", 2, "the time is missing or not a time")]


@pytest.mark.parametrize(
    ("format_", "present", "message"),
    [
        ("amazon_2014", "reviews_Toys.json", r"holds no file meta_\*\.json"),
        ("amazon_2018", "meta_Toys.json", "holds no file of reviews"),
        ("amazon_2023", "Toys.jsonl", r"holds no file meta_\*\.jsonl"),
        ("yelp", "review.json", "holds no file business.json"),
    ],
)
def test_a_missing_file_is_named(read: Read, tmp_path: Path, format_: str, present: str, message: str) -> None:
    (tmp_path / present).write_text("")
    with pytest.raises(InputError, match=message):
        read(format_)


@pytest.mark.parametrize("format_", ["movielens_10m", "lastfm_2k", "amazon_2014", "amazon_2018", "amazon_2023", "yelp"])
def test_a_missing_folder_is_one_clear_line(spark: SparkSession, tmp_path: Path, format_: str) -> None:
    settings = DatasetSettings(format=format_, path=f"{tmp_path}/nowhere")
    with pytest.raises(InputError, match=r"There is no file or folder .*nowhere"):
        read_dataset(spark, settings, tmp_path)
