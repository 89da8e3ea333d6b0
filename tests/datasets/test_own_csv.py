"""CSV as people have it: line breaks within quotes, stray marks, other separators, escapes and encodings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import DatasetSettings
from recsae_lib.datasets.parsing.quoting import NOT_CLOSED, NOT_DOUBLED
from recsae_lib.datasets.reading import Dataset, read_dataset
from recsae_lib.errors import InputError
from tests.workspace import REPOSITORY, java_options, tiny_spark, write_properties

INTERACTIONS = "user_id,item_id,ts\nu,i0,1600000000\n"
ITEMS = "item_id,title,features\n"
Rows = list[tuple[str, str, list[str]]]
Rejects = list[tuple[int, str, str]]
Read = Callable[..., tuple[Rows, Rejects]]


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    """Items and rejects of a text, which is items.csv in a folder with its interactions."""

    def items_of(items: str | bytes, name: str = "items.csv", **csv: str | None) -> tuple[Rows, Rejects]:
        separator = (csv.get("separator") or ",").replace(r"\t", "\t")
        (tmp_path / "i.csv").write_text(INTERACTIONS.replace(",", separator), encoding="utf-8")
        (tmp_path / name).write_bytes(items if isinstance(items, bytes) else items.encode())
        paths = {"interactions": f"{tmp_path}/i.csv", "items": f"{tmp_path}/{name}"}
        return told(read_dataset(spark, DatasetSettings(format="csv", csv=csv, **paths), tmp_path))

    return items_of


def told(dataset: Dataset) -> tuple[Rows, Rejects]:
    items = dataset.items.select("item_id", "title", "features").collect()
    rejects = dataset.rejects.select("line", "reason", "record").collect()
    return sorted(tuple(row) for row in items), sorted(tuple(row) for row in rejects)


@pytest.mark.parametrize("split_bytes", [7, 40, 10_000])
def test_a_quoted_text_of_several_lines_is_one_item(spark: SparkSession, read: Read, split_bytes: int) -> None:
    spark.conf.set("spark.sql.files.maxPartitionBytes", str(split_bytes))
    items, rejects = read(
        ITEMS + 'i0,"A warm ""coat"".\r\nRed, blue, green\r\n\r\nMade of wool",Coats\r\n'
        ",nameless,X\n"
        'i2, "Shoe\n\nitem_id,title,features\nEnd" ,Shoes\n'
        ',"no\nid",X\n'
        "i3,hat,Hats,more\n"
    )
    assert items == [
        ("i0", 'A warm "coat". Red, blue, green  Made of wool', ["Coats"]),
        ("i2", "Shoe  item_id,title,features End", ["Shoes"]),
    ]
    assert rejects == [
        (6, "the item id is missing", ",nameless,X"),
        (11, "the item id is missing", ',"no\nid",X'),
        (13, "wrong number of fields", "i3,hat,Hats,more"),
    ]


def test_an_unquoted_inch_mark_is_a_letter(read: Read) -> None:
    items, rejects = read(ITEMS + 'i0,12" vinyl,A\ni1,7" single 3" wide,B|12"\n')
    assert items == [("i0", '12" vinyl', ["A"]), ("i1", '7" single 3" wide', ["B", '12"'])]
    assert rejects == []


def test_a_quote_that_is_never_closed_refuses_all_it_may_hold(read: Read) -> None:
    text = ITEMS + 'i0,a,A\ni1,"Best of,B\ni2,Red,Blue\n'
    assert read(text) == ([("i0", "a", ["A"])], [(3, NOT_CLOSED, 'i1,"Best of,B'), (4, NOT_CLOSED, "i2,Red,Blue")])
    items, rejects = read(text, quote=None)
    assert items == [("i0", "a", ["A"]), ("i1", '"Best of', ["B"]), ("i2", "Red", ["Blue"])]
    assert rejects == []


def test_escaped_quotes_are_read_by_a_setting_else_refused(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    rows = [("i0", 'The "Best" coat', "Coats"), ("i1", 'a "b", c', "S"), ("i2", "back\\slash", "S"), ("i3", "x", "Y")]
    spark.createDataFrame(rows, "item_id STRING, title STRING, features STRING").coalesce(1).write.csv(
        f"{tmp_path}/written", header=True
    )
    text = next((tmp_path / "written").glob("*.csv")).read_text()
    assert r"\"Best\"" in text
    assert read(text, escape="\\") == ([(item, title, [feature]) for item, title, feature in rows], [])
    items, rejects = read(text)
    assert [item for item, title, _ in items if title] == ["i2", "i3"]
    assert [(line, reason) for line, reason, _ in rejects] == [(2, NOT_DOUBLED), (3, NOT_DOUBLED)]


@pytest.mark.parametrize(("separator", "written"), [(";", ";"), ("\t", r"\t"), ("|", "|")])
def test_another_separator_is_a_setting_and_is_recognised(read: Read, separator: str, written: str) -> None:
    text = (ITEMS + "i0,red;shoe,A\n").replace(",", separator).replace("red;shoe", f'"red{separator}shoe"')
    assert read(text, separator=written) == ([("i0", f"red{separator}shoe".replace("\t", " "), ["A"])], [])
    with pytest.raises(InputError, match=re.escape(f"Set dataset.csv.separator to {separator!r}")):
        read(text)


@pytest.mark.parametrize(
    ("encoding", "setting"),
    [
        ("utf-16", "UTF-8"),  # the mark at its beginning tells
        ("utf-8-sig", "UTF-8"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("cp1252", "windows-1252"),
        ("shift_jis", "Shift_JIS"),
    ],
)
def test_encodings(spark: SparkSession, tmp_path: Path, encoding: str, setting: str) -> None:
    word = "靴\n能" if encoding == "shift_jis" else "Schuh\nüber"  # 能 ends with a backslash in Shift_JIS
    (tmp_path / "i.csv").write_bytes(INTERACTIONS.encode(encoding))
    (tmp_path / "items.csv").write_bytes((ITEMS + f'i0,"{word}",A\r\ni1,b,B').encode(encoding))
    sources = {"interactions": f"{tmp_path}/i.csv", "items": f"{tmp_path}/items.csv"}
    dataset = read_dataset(spark, DatasetSettings(format="csv", csv={"encoding": setting}, **sources), tmp_path)
    assert told(dataset) == ([("i0", word.replace("\n", " "), ["A"]), ("i1", "b", ["B"])], [])
    assert dataset.interactions.count() == 1


def test_what_is_no_text_is_told(read: Read) -> None:
    with pytest.raises(InputError, match=r"holds zero bytes.*Set dataset.csv.encoding to UTF-16"):
        read(ITEMS.encode("utf-16-le"))
    with pytest.raises(InputError, match="There is no encoding 'klingon'"):
        read(ITEMS, encoding="klingon")
    with pytest.raises(InputError, match="is a zip archive or an Excel workbook, not text"):
        read(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="the quotes of the header line"):
        read('item_id,"title,features\n')


def test_compressed_files_are_read_or_the_fault_is_told(read: Read) -> None:
    packed = pa.compress((ITEMS + "i0,a,A\n").encode(), codec="zstd", asbytes=True)
    assert read(packed, "items.csv.zst") == ([("i0", "a", ["A"])], [])
    with pytest.raises(InputError, match=r"A compressed file of .*items\.csv\.zst is cut off"):
        read(packed[:-5], "items.csv.zst")
    with pytest.raises(InputError, match=r"items\.csv is compressed by zstd"):
        read(packed)
    with pytest.raises(InputError, match=r"A compressed file of .*items\.csv\.gz is damaged"):
        read(ITEMS, "items.csv.gz")


def test_a_colon_in_the_name_of_a_file_is_one_clear_line(read: Read) -> None:
    with pytest.raises(InputError, match=r"2020-09-13T00:00:00\.csv, and Hadoop reads no file with a colon"):
        read(ITEMS, "2020-09-13T00:00:00.csv")


def test_brackets_in_the_name_of_a_file_are_no_pattern(read: Read) -> None:
    assert read(ITEMS + "i0,a,A\n", "items{1}[x].csv") == ([("i0", "a", ["A"])], [])


@pytest.mark.integration
def test_a_path_beyond_ascii_is_read_in_the_locale_c(tmp_path: Path) -> None:
    home = tmp_path / "データ é 1"
    home.mkdir()
    (home / "i.csv").write_text(INTERACTIONS)
    (home / "items.csv").write_text(ITEMS + "i0,a,A\n")
    places = {
        "paths.var": f"{tmp_path}/var",
        "dataset.interactions": f"{home}/i.csv",
        "dataset.items": f"{home}/items.csv",
    }
    properties = tmp_path / "spark.conf"
    given = {"dataset.format": "csv", "spark.properties": properties, **places}
    arguments = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
    own = {"spark.driver.extraJavaOptions": java_options(), "spark.sql.catalog.recsae.warehouse": f"{tmp_path}/tables"}
    write_properties(properties, {**tiny_spark(), **own, "spark.sql.warehouse.dir": f"{tmp_path}/default"})
    ended = subprocess.run(
        [sys.executable, "-m", "recsae_lib.cli", "run", "ingest_dataset", "--dt", "2026-11-20", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "LC_ALL": "C", "LANG": "C"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "1 interactions, 1 items" in ended.stderr
