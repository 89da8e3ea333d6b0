"""Folders of Parquet files as they come: from several hands, cut off, nested, or tables of something else."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.parquet import read_parquet
from recsae_lib.datasets.parsing.values import as_time
from recsae_lib.errors import InputError


def write(path: Path, **columns: pa.Array | list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def read(spark: SparkSession, folder: Path | str, *wanted: str) -> list[tuple[Any, ...]]:
    raw = read_parquet(spark, str(folder), wanted, "map the columns", "name the table")
    rows = raw.rows.select(*[raw.columns[name][0].alias(name) for name in wanted])
    return sorted((tuple(row) for row in rows.collect()), key=repr)


def types(spark: SparkSession, folder: Path, name: str) -> str:
    return read_parquet(spark, str(folder), [name], "", "").columns[name][1].simpleString()


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_times_in_nanoseconds_are_times_to_the_microsecond(
    spark: SparkSession, tmp_path: Path, zone: str | None
) -> None:
    numbers = pa.array([1_600_000_000_123_456_789, 5_000, -1, None], pa.int64())
    write(tmp_path / "a.parquet", ts=numbers.cast(pa.timestamp("ns", zone)))
    raw = read_parquet(spark, str(tmp_path), ["ts"], "", "")
    found = raw.rows.select(F.unix_micros(as_time("ts", raw.columns["ts"]))).collect()
    assert [row[0] for row in found] == [1_600_000_000_123_456, 5, -1, None]


def test_whole_numbers_of_two_widths_are_long(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=pa.array([1], pa.int32()))
    write(tmp_path / "b.parquet", id=pa.array([2**40], pa.int64()))
    assert read(spark, tmp_path, "id") == [(1,), (2**40,)]


def test_numbers_and_text_meet_as_text_and_floats_do_not(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=pa.array([12], pa.int64()))
    write(tmp_path / "b.parquet", id=["0012", "u"])
    assert read(spark, tmp_path, "id") == [("0012",), ("12",), ("u",)]
    write(tmp_path / "c.parquet", id=[12.0])
    with pytest.raises(
        InputError, match=r"Column 'id' of .* is bigint in a\.parquet, string in b\.parquet, double in c"
    ):
        read(spark, tmp_path, "id")
    (tmp_path / "b.parquet").unlink()
    assert types(spark, tmp_path, "id") == "double"  # a weight; refused as an id


def test_times_of_every_type_meet(spark: SparkSession, tmp_path: Path) -> None:
    moment = datetime(2020, 9, 13, 12, 26, 40, 5, tzinfo=timezone.utc)
    write(tmp_path / "a.parquet", ts=pa.array([moment], pa.timestamp("us", "UTC")))
    write(tmp_path / "b.parquet", ts=pa.array([1_600_000_000], pa.int64()))
    write(tmp_path / "c.parquet", ts=pa.array([moment.replace(tzinfo=None)], pa.timestamp("ns")))
    write(tmp_path / "d.parquet", ts=["2020-09-13 12:26:40+00"])
    write(tmp_path / "e.parquet", ts=[date(2020, 9, 13)])
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    raw = read_parquet(spark, str(tmp_path), ["ts"], "", "")
    found = raw.rows.select(F.unix_micros(as_time("ts", raw.columns["ts"]))).collect()
    assert sorted(row[0] for row in found) == [
        1_599_955_200_000_000,
        1_600_000_000_000_000,
        1_600_000_000_000_000,
        1_600_000_000_000_005,
        1_600_000_000_000_005,
    ]


def test_columns_that_are_null_or_absent_in_a_file_are_null_there(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=["x"])
    write(tmp_path / "b.parquet", id=["y"], tags=pa.array([None], pa.null()))
    write(tmp_path / "c.parquet", id=["z"], tags=[["p", "q"]])
    write(tmp_path / "d.parquet", id=["w"], tags=pa.array([None], pa.float64()))
    assert read(spark, tmp_path, "id", "tags") == [("w", None), ("x", None), ("y", None), ("z", ["p", "q"])]
    assert read(spark, tmp_path / "b.parquet", "id", "tags") == [("y", None)]
    with pytest.raises(InputError, match=r"has no column 'TAGS' \(the nearest is 'tags'\)"):
        read(spark, tmp_path, "TAGS")


def test_lists_of_numbers_and_of_text_meet(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", tags=[[1, 2]])
    write(tmp_path / "b.parquet", tags=[["x"]])
    assert read(spark, tmp_path, "tags") == [(["1", "2"],), (["x"],)]


def test_files_at_every_depth_are_read_and_folders_are_text(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a b{1}.parquet", id=["x"], day=["d"])
    write(tmp_path / "sub" / "deep" / "c%20.parquet", id=["y"], day=["d"])
    write(tmp_path / "day=007" / "a.parquet", id=["z"])
    write(tmp_path / "day=__HIVE_DEFAULT_PARTITION__" / "a.parquet", id=["v"])
    write(tmp_path / "_temporary" / "a.parquet", id=["hidden"], day=["d"])
    assert read(spark, tmp_path, "id", "day") == [("v", None), ("x", "d"), ("y", "d"), ("z", None)]
    folders = tmp_path / "only"
    write(folders / "item=0012" / "a.parquet", id=["x"])
    write(folders / "item=a%3Ab ü" / "a.parquet", id=["y"])
    write(folders / "item=__HIVE_DEFAULT_PARTITION__" / "a.parquet", id=["z"])
    assert read(spark, folders, "id", "item") == [("x", "0012"), ("y", "a:b ü"), ("z", None)]
    assert read(spark, f"{tmp_path}/o*ly/*", "id", "item") == [("x", "0012"), ("y", "a:b ü"), ("z", None)]


def test_what_is_no_whole_parquet_file_is_named(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=["x"])
    other = tmp_path / "part-1.parquet"
    other.write_bytes(b"")
    with pytest.raises(InputError, match=r"part-1\.parquet is empty: it was not written to its end"):
        read(spark, tmp_path, "id")
    other.write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part-1\.parquet is not a Parquet file"):
        read(spark, tmp_path, "id")
    other.unlink()
    (tmp_path / "README.txt").write_text("about these files")
    with pytest.raises(InputError, match=r"README\.txt is not a Parquet file"):
        read(spark, tmp_path, "id")


@pytest.mark.parametrize(
    ("sign", "kind"),
    [
        ("_delta_log/0.json", "Delta Lake"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("metadata/v1.metadata.json", "Iceberg"),
    ],
)
def test_tables_of_others_are_refused_whatever_path_names_them(
    spark: SparkSession, tmp_path: Path, sign: str, kind: str
) -> None:
    table = tmp_path / "shop" / "table"
    write(table / "data" / "day=1" / "a.parquet", id=["deleted"])
    (table / sign).parent.mkdir()
    (table / sign).write_text("{}")
    for path in (tmp_path / "shop", table, table / "data", table / "data" / "day=1" / "a.parquet", f"{table}/data/*"):
        with pytest.raises(InputError, match=f"table is a table of {kind}.*name the table|shop is a table of {kind}"):
            read(spark, path, "id")


def test_a_table_is_known_by_its_folder_alone(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "table" / "a.parquet", id=["deleted"])
    (tmp_path / "table" / ".hoodie").mkdir()
    with pytest.raises(InputError, match=f"^{tmp_path}/table is a table of Hudi"):
        read(spark, tmp_path / "table", "id")


def test_columns_that_differ_by_case_alone_are_refused_if_read(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=["x"], ID=["y"], other=["z"])
    assert read(spark, tmp_path, "other") == [("z",)]
    with pytest.raises(InputError, match="has the columns 'id' and 'ID', which Spark does not tell apart"):
        read(spark, tmp_path, "id")
