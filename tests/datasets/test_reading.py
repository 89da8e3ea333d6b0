"""Every format from tiny files with bad rows of each kind to the three tables."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import CheckSettings, DatasetSettings
from recsae_lib.datasets.joining import require_joined
from recsae_lib.datasets.reading import Dataset, read_dataset
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.schemas import discrepancies
from recsae_lib.platform.warehouse.tables import INTERACTIONS, ITEMS

Read = Callable[..., Dataset]


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    return lambda **settings: read_dataset(spark, DatasetSettings(**settings), tmp_path / "cache")


def interactions_of(dataset: Dataset) -> list[tuple[str, str, float, str]]:
    rows = dataset.interactions.select("user_id", "item_id", "weight", F.col("ts").cast("string"))
    return sorted(tuple(row) for row in rows.collect())


def items_of(dataset: Dataset) -> list[tuple[str, str, str, list[str]]]:
    return sorted(tuple(row) for row in dataset.items.select("item_id", "title", "text", "features").collect())


def rejects_of(dataset: Dataset) -> list[tuple[str, str, int | None, str, str]]:
    rows = dataset.rejects.select("source", "file", "line", "reason", "record").collect()
    return sorted((tuple(row) for row in rows), key=lambda row: (row[1], row[2] or 0, row[4]))


def test_movielens_csv_gives_a_row_or_a_reason_for_every_line(read: Read, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_bytes(
        b"\xef\xbb\xbfuserId,movieId,rating,timestamp\r\n"
        b"1,10,4.0,964982703\r\n"
        b" 2 ,20,0.5,964982704\r\n"
        b"\r\n"
        b",10,4.0,964982703\r\n"
        b"1, ,4.0,964982703\r\n"
        b"1,10,NaN,964982703\r\n"
        b"1,10,1e999,964982703\r\n"
        b"1,10,4.0,yesterday\r\n"
        b"1,10,4.0,-5\r\n"
        b"1,10,4.0,9999999999\r\n"
        b"1,10,4.0\r\n"
        b"1,10,4.0,964982703,1\r\n"
        b"1,10,3.0,964982703\r\n"
        b"1,10,3.0,964982999\r\n"
        b"userId,movieId,rating,timestamp\r\n"
        b"\xff,10,3.0,964982999\r\n"
    )
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n"
        '10,"American President, The (1995)",Comedy|Drama|Comedy\n'
        '20,"Say ""Cheese"" (2006–2007) ",(no genres listed)\n'
        "10,Another,Drama\n"
        ",Nameless,Drama\n"
        '30,"Two\n'
        'lines (1999)",Drama\n'
        "40,Babylon 5,\n"
    )
    dataset = read(format="movielens_csv", path=f"{tmp_path}/")
    assert interactions_of(dataset) == [
        ("1", "10", 3.0, "2000-07-30 18:49:59"),
        ("1", "10", 4.0, "2000-07-30 18:45:03"),
        ("2", "20", 0.5, "2000-07-30 18:45:04"),
    ]
    assert items_of(dataset) == [
        ("10", "American President, The (1995)", "American President, The", ["Comedy", "Drama"]),
        ("20", 'Say "Cheese" (2006–2007) ', 'Say "Cheese"', []),
        ("30", "Two lines (1999)", "Two lines", ["Drama"]),
        ("40", "Babylon 5", "Babylon 5", []),
    ]
    assert [(file, line, reason) for _, file, line, reason, _ in rejects_of(dataset)] == [
        ("movies.csv", 4, "the catalogue has this item already"),
        ("movies.csv", 5, "the item id is missing"),
        ("ratings.csv", 5, "the user id is missing"),
        ("ratings.csv", 6, "the item id is missing"),
        ("ratings.csv", 7, "the weight is missing or not a finite number"),
        ("ratings.csv", 8, "the weight is missing or not a finite number"),
        ("ratings.csv", 9, "the time is missing or not a time"),
        ("ratings.csv", 10, "the time is before 1970 or after 2100"),
        ("ratings.csv", 11, "the time is before 1970 or after 2100"),
        ("ratings.csv", 12, "wrong number of fields"),
        ("ratings.csv", 13, "wrong number of fields"),
        ("ratings.csv", 14, "the user has this item at this time already"),
        ("ratings.csv", 17, "the line is not UTF-8 text"),
    ]
    assert rejects_of(dataset)[10] == (
        "interactions",
        "ratings.csv",
        13,
        "wrong number of fields",
        "1,10,4.0,964982703,1",
    )
    assert discrepancies(INTERACTIONS.schema, dataset.interactions.schema) == []
    assert discrepancies(ITEMS.schema, dataset.items.schema) == [
        "column derived_features is missing",  # of these two
        "column released is not declared",
        "column attributes is not declared",
    ]


def test_the_100k_release_is_latin_1_and_has_nineteen_genres(read: Read, tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n186\t302\t3\n")
    flags = {"first": "1" + 18 * "|0", "second": "0|1|1" + 16 * "|0"}
    (tmp_path / "u.item").write_bytes(
        f"242|Misérables, Les (1995)|01-Jan-1995||http://x|{flags['first']}\n"
        f"302|Kolya (1996)|24-Jan-1997||http://y|{flags['second']}\n"
        "303|Short|x\n".encode("latin-1")
    )
    dataset = read(format="movielens_100k", path=str(tmp_path))
    expected = [
        ("242", "Misérables, Les (1995)", "Misérables, Les", ["unknown"]),
        ("302", "Kolya (1996)", "Kolya", ["Action", "Adventure"]),
    ]
    assert items_of(dataset) == expected
    assert interactions_of(dataset)[1] == ("196", "242", 3.0, "1997-12-04 15:55:49")
    assert [row[1:4] for row in rejects_of(dataset)] == [
        ("u.data", 3, "wrong number of fields"),
        ("u.item", 3, "wrong number of fields"),
    ]


def test_the_100k_release_reads_genres_from_u_genre_if_present(read: Read, tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t7\t3\t881250949\n")
    (tmp_path / "u.genre").write_text("noir|1\nfarce|0\n\n")
    (tmp_path / "u.item").write_text("7|A|b|c|d|1|1\n")
    assert items_of(read(format="movielens_100k", path=str(tmp_path))) == [("7", "A", "A", ["farce", "noir"])]


def test_the_1m_release_is_read_with_double_colons(read: Read, tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    (tmp_path / "movies.dat").write_bytes("1193::Amélie: A Tale (2001)::Drama|Children's\n".encode("latin-1"))
    dataset = read(format="movielens_1m", path=str(tmp_path))
    assert items_of(dataset) == [
        ("1193", "Amélie: A Tale (2001)", "Amélie: A Tale", ["Drama", "Children's"]),
        ("661", "", "", []),  # of an interaction, not in the catalogue
    ]
    assert len(interactions_of(dataset)) == 2
    assert rejects_of(dataset) == []


def test_atomic_files_keep_seconds_a_32_bit_float_would_lose(read: Read, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "196\t242\t3\t881250949\n197\t242\t3\t8.81250949E8\n198\t242\t3\t881250949.25\n"
    )
    (tmp_path / "x.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tkeywords:token_seq\n"
        "242\tToy Story\t1995\tAnimation Children's\tdoll  Animation\n"
    )
    dataset = read(format="recbole", path=str(tmp_path))
    assert [row[3] for row in interactions_of(dataset)] == [
        "1997-12-04 15:55:49",
        "1997-12-04 15:55:49",
        "1997-12-04 15:55:49.25",
    ]
    assert items_of(dataset) == [("242", "Toy Story", "Toy Story", ["Animation", "Children's", "doll"])]
    assert [tuple(row) for row in dataset.items.select("released", "attributes").collect()] == [(1995, [])]


def test_other_fields_of_atomic_files_are_attributes_if_named(read: Read, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\nu\ta\n")
    (tmp_path / "x.item").write_text(
        "item_id:token\tname:token\trelease_year:token\tpublished:token\tmaker:token\tcolours:token_seq\n"
        "a\tA\t1990\t2001-05-06\tAcme Ltd\tred blue\n"
    )
    columns = {"released": "published", "attributes": ["maker", "colours"]}
    dataset = read(format="recbole", path=str(tmp_path), columns=columns)
    (row,) = dataset.items.select("released", "attributes").collect()
    assert row["released"] == 2001
    assert [tuple(one) for one in row["attributes"]] == [("maker", "Acme Ltd"), ("colours", "red"), ("colours", "blue")]
    with pytest.raises(InputError, match=r"has no column 'makers' \(the nearest is 'maker'\)"):
        read(format="recbole", path=str(tmp_path), columns={"attributes": ["makers"]})


def test_own_tables_name_their_release_and_attributes(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    spark.createDataFrame([("u", "a")], "user_id STRING, item_id STRING").write.parquet(f"{tmp_path}/i")
    items = [("a", 1994.0, "Phoenix", 2.0, ["x", "y"]), ("b", None, None, None, None)]
    columns = "item_id STRING, made DOUBLE, city STRING, `price.range` DOUBLE, tags ARRAY<STRING>"
    spark.createDataFrame(items, columns).write.parquet(f"{tmp_path}/c")
    named = {"ts": None, "title": "city", "features": None, "released": "made"}
    attributes = ["city", "price.range", "tags"]
    sources = {"interactions": f"{tmp_path}/i", "items": f"{tmp_path}/c"}
    dataset = read(format="parquet", **sources, columns={**named, "attributes": attributes})
    rows = {row["item_id"]: row for row in dataset.items.collect()}
    assert [rows[item]["released"] for item in "ab"] == [1994, None]
    assert [tuple(one) for one in rows["a"]["attributes"]] == [
        *[("city", "Phoenix"), ("price.range", "2")],
        *[("tags", "x"), ("tags", "y")],
    ]
    assert rows["b"]["attributes"] == []
    with pytest.raises(InputError, match="has no column 'town'"):
        read(format="parquet", **sources, columns={**named, "attributes": ["town"]})


def test_tokens_of_atomic_files_may_be_quoted(read: Read, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\nu\ta\n")
    (tmp_path / "x.item").write_text(
        "item_id:token\ttitle:token\tcategories:token_seq\n"
        "a\tA\t'Clothing, Shoes & Jewelry' 'Girl's hats'\n"
        "b\tB\t['Home & Kitchen', 'Bath']\n"
        "c\tC\t\"Rock 'n' roll\"\n"
        "d\tD\tChildren's 'n' Drama\n"
        "e\tE\t\n"
    )
    features = {item: listed for item, _, _, listed in items_of(read(format="recbole", path=str(tmp_path)))}
    assert features == {
        "a": ["Clothing, Shoes & Jewelry", "Girl's hats"],
        "b": ["Home & Kitchen", "Bath"],
        "c": ["Rock 'n' roll"],
        "d": ["Children's", "'n'", "Drama"],
        "e": [],
    }


def test_atomic_files_default_to_weight_one_and_start_of_1970(read: Read, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\nu\ti\nu\ti\n")
    (tmp_path / "x.item").write_text("item_id:token\ni\n")
    dataset = read(format="recbole", path=str(tmp_path))
    assert interactions_of(dataset) == [("u", "i", 1.0, "1970-01-01 00:00:00")]
    assert [row[2:4] for row in rejects_of(dataset)] == [(3, "the user has this item at this time already")]
    with pytest.raises(InputError, match="1 are of items that the catalogue lists with neither text nor features"):
        require_joined(dataset.interactions, dataset.listed, dataset.rejects, CheckSettings())


def test_parquet_columns_may_have_dots_blanks_and_arrays(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    rows = [
        (7, 1, datetime(2020, 1, 2, 3, 4, 5), 10.0),
        (7, 1, datetime(2020, 1, 2, 3, 4, 5), 9.0),
        (7, None, None, 1.0),
    ]
    names = "`user.id` BIGINT, `the item` INT, `at` TIMESTAMP_NTZ, `n` DOUBLE"
    spark.createDataFrame(rows, names).coalesce(1).write.parquet(f"{tmp_path}/i")
    spark.createDataFrame(
        [(1, ["b ", "a", None, "b", ""], None)], "`the item` INT, tags ARRAY<STRING>, words STRING"
    ).write.parquet(f"{tmp_path}/c")
    columns = {
        "user_id": "user.id",
        "item_id": "the item",
        "ts": "at",
        "weight": "n",
        "title": "words",
        "features": "tags",
    }
    dataset = read(format="parquet", interactions=f"{tmp_path}/i", items=f"{tmp_path}/c", columns=columns)
    assert interactions_of(dataset) == [("7", "1", 9.0, "2020-01-02 03:04:05")]  # the smaller row of the two
    assert items_of(dataset) == [("1", "", "", ["b", "a"])]
    rejected = rejects_of(dataset)
    assert sorted(row[2:] for row in rejected) == [
        (None, "the item id is missing", '{"user.id":7,"the item":null,"n":1.0,"at":null}'),
        (
            None,
            "the user has this item at this time already",
            '{"user.id":7,"the item":1,"n":10.0,"at":"2020-01-02T03:04:05.000"}',
        ),
    ]
    assert all(row[1].endswith(".parquet") for row in rejected)


def test_a_catalog_table_gives_its_name_as_the_file_of_a_reject(spark: SparkSession, read: Read) -> None:
    spark.createDataFrame(
        [("u", "i", "2020-01-01"), ("u", "", "2020-01-01")], "user_id STRING, item_id STRING, ts STRING"
    ).createOrReplaceTempView("raw_interactions")
    spark.createDataFrame(
        [("i", "Text", 4, "a;b")], "item_id STRING, title STRING, n INT, features STRING"
    ).createOrReplaceTempView("raw_items")
    dataset = read(format="table", interactions="raw_interactions", items="raw_items", feature_separator=";")
    assert interactions_of(dataset) == [("u", "i", 1.0, "2020-01-01 00:00:00")]
    assert items_of(dataset) == [("i", "Text", "Text", ["a", "b"])]
    assert [row[:4] for row in rejects_of(dataset)] == [
        ("interactions", "raw_interactions", None, "the item id is missing")
    ]
    with pytest.raises(InputError, match="There is no table nowhere"):
        read(format="table", interactions="nowhere", items="raw_items")


def test_all_missing_columns_are_named_with_the_nearest_ones(read: Read, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("userid,product,when\n")
    (tmp_path / "c.csv").write_text("product,title,features\n")
    with pytest.raises(InputError) as failure:
        read(format="csv", interactions=f"{tmp_path}/i.csv", items=f"{tmp_path}/c.csv", columns={"item_id": "product"})
    assert "no column 'user_id' (the nearest is 'userid'), 'ts' (the nearest is " in str(failure.value)


def test_a_folder_of_csv_files_must_have_one_header(read: Read, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    for name, text in (
        ("b 1.csv", "user_id,item_id,ts\nu,i,5\nu\n"),
        ("a%20ü.csv", "user_id,item_id,ts\n\nu\nu,i,5\n"),
    ):
        (tmp_path / "i" / name).write_text(text)
    (tmp_path / "i" / "c.csv.gz").write_bytes(gzip.compress(b"user_id,item_id,ts\nu,j,5\nu\n"))
    (tmp_path / "i" / "below").mkdir()
    (tmp_path / "i" / "below" / "d.csv").write_text("user_id,item_id,ts\nu,k,5\n")
    (tmp_path / "items.csv").write_text("item_id,title,features\ni,A,\n")
    settings = {"format": "csv", "interactions": f"{tmp_path}/i", "items": f"{tmp_path}/items.csv"}
    dataset = read(**settings)
    assert [row[:2] for row in interactions_of(dataset)] == [("u", "i"), ("u", "j"), ("u", "k")]
    assert [row[1:4] for row in rejects_of(dataset)] == [
        ("a%20ü.csv", 3, "wrong number of fields"),
        ("b 1.csv", 2, "the user has this item at this time already"),  # a%20ü.csv comes first
        ("b 1.csv", 3, "wrong number of fields"),
        ("c.csv.gz", 3, "wrong number of fields"),
    ]
    (tmp_path / "i" / "e.csv").write_text("")
    with pytest.raises(InputError, match=r"File e\.csv of .* is empty"):
        read(**settings)
    (tmp_path / "i" / "e.csv").write_text("item_id,user_id,ts\nu,i,5\n")
    with pytest.raises(InputError, match=r"File e\.csv of .* does not begin with the header line"):
        read(**settings)


@pytest.mark.parametrize("format_", ["movielens_100k", "movielens_1m", "movielens_csv", "recbole"])
def test_a_missing_folder_is_one_clear_line(read: Read, tmp_path: Path, format_: str) -> None:
    with pytest.raises(InputError, match=r"There is no file or folder .*nowhere"):
        read(format=format_, path=f"{tmp_path}/nowhere")


def test_empty_missing_and_corrupt_sources_are_one_clear_line(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 is not enough" * 10)
    good = f"{tmp_path}/good"
    spark.createDataFrame(
        [("u", "i", 1, "t", "f")], "user_id STRING, item_id STRING, ts INT, title STRING, features STRING"
    ).write.parquet(good)
    with pytest.raises(InputError, match=r"empty\.csv does not begin with a header line"):
        read(format="csv", interactions=f"{tmp_path}/empty.csv", items=f"{tmp_path}/empty.csv")
    with pytest.raises(InputError, match="folder holds no Parquet file"):
        read(format="parquet", interactions=f"{tmp_path}/folder", items=good)
    with pytest.raises(InputError, match="There is no file or folder"):
        read(format="parquet", interactions=good, items=f"{tmp_path}/nowhere")
    with pytest.raises(InputError, match=r"broken\.parquet is not a Parquet file"):
        read(format="parquet", interactions=f"{tmp_path}/broken.parquet", items=good)


def test_a_column_of_the_wrong_type_is_named(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    good = f"{tmp_path}/good"
    spark.createDataFrame([("u", 1.5, 1.0)], "user_id STRING, item_id DOUBLE, ts FLOAT").write.parquet(good)
    with pytest.raises(InputError, match="Column 'item_id' is double, but an id is text"):
        read(format="parquet", interactions=good, items=good, columns={"title": None, "features": None})
    columns = {"item_id": "user_id", "title": None, "features": None}
    with pytest.raises(InputError, match="32-bit float"):
        read(format="parquet", interactions=good, items=good, columns=columns)


def test_released_rows_leave_no_trace_on_disk(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    (tmp_path / "x.item").write_text("item_id:token\ni\n")
    kept = spark.sparkContext._jsc.getPersistentRDDs  # type: ignore[union-attr]
    before = set(kept())
    dataset = read(format="recbole", path=str(tmp_path))
    dataset.interactions.count()
    assert set(kept()) - before
    dataset.release()
    assert set(kept()) <= before


def test_ties_are_broken_by_lines_or_by_hash_without_lines(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "a.csv").write_text("user_id,item_id,ts\nu,z,5\n,bad,5\nu,b,5\n")
    (tmp_path / "i" / "b.csv").write_text("user_id,item_id,ts\nu,a,5\n")
    (tmp_path / "items.csv").write_text("item_id,title,features\na,t,f\n")
    sources = {"interactions": f"{tmp_path}/i", "items": f"{tmp_path}/items.csv"}
    rows = read(format="csv", **sources).interactions.select("item_id", "source_order").collect()
    assert sorted(map(tuple, rows)) == [("a", 2**40 + 2), ("b", 4), ("z", 2)]
    same_time = spark.createDataFrame([("u", item, 5) for item in "abcd"], "user_id STRING, item_id STRING, ts INT")
    same_time.write.parquet(f"{tmp_path}/p")
    spark.createDataFrame([("a", "t", "f")], "item_id STRING, title STRING, features STRING").write.parquet(
        f"{tmp_path}/q"
    )
    sources = {"interactions": f"{tmp_path}/p", "items": f"{tmp_path}/q"}
    drawn = read(format="parquet", **sources).interactions.orderBy("ts", "source_order").collect()
    assert "".join(row["item_id"] for row in drawn) == "acdb"
    assert drawn[0]["source_order"] == 3268464256444998819  # of user and item: the same in every run
