from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.recommenders import vocabulary
from recsae_lib.recommenders.vocabulary import check_vocabulary, read_vocabulary, rises, write_vocabulary

IDS = ["", "10", "9", "a", "ab", "é", "語", "🎬"]  # rising by the bytes of their UTF-8


def write(folder: Path, ids: pa.Array, indices: pa.Array) -> None:
    pq.write_table(pa.table({"item_id": ids, "item_index": indices}), folder / "items.parquet")


@pytest.mark.parametrize("cuts", [[8], [1, 7], [3, 0, 3, 2], [1] * 8])
def test_the_same_ids_give_the_same_bytes_however_they_are_cut(
    cuts: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "ROW_GROUP", 3)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    ids = iter(IDS)
    pieces = [pa.array([next(ids) for _ in range(cut)], pa.string()) for cut in cuts]
    assert write_vocabulary(tmp_path / "whole", "item", [pa.array(IDS)]) == 8
    assert write_vocabulary(tmp_path / "cut", "item", pieces) == 8
    assert (tmp_path / "cut" / "items.parquet").read_bytes() == (tmp_path / "whole" / "items.parquet").read_bytes()
    assert pq.read_metadata(tmp_path / "cut" / "items.parquet").num_row_groups == 3
    check_vocabulary(tmp_path / "cut", "item", 8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=3), max_size=6))
def test_the_order_of_ids_is_that_of_their_bytes(ids: list[str]) -> None:
    encoded = [text.encode() for text in ids]
    assert rises(pa.array(ids, pa.string())) == all(a < b for a, b in pairwise(encoded))


def test_spark_reads_every_row_group_once(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "ROW_GROUP", 3)
    write_vocabulary(tmp_path, "user", [pa.array(IDS)])
    rows = read_vocabulary(spark, tmp_path, "user")
    assert rows.dtypes == [("user_id", "string"), ("user_index", "int")]
    assert sorted(map(tuple, rows.collect()), key=lambda row: row[1]) == [(name, n) for n, name in enumerate(IDS)]


COUNTED = pa.array([0, 1, 2], pa.int32())


@pytest.mark.parametrize(
    ("ids", "indices", "message"),
    [
        (pa.array(["a", "b"]), COUNTED[:2], "has 2 rows, the model knows 3 items"),
        (pa.array(["a", "c", "b"]), COUNTED, "ids do not rise"),
        (pa.array(["a", "b", "b"]), COUNTED, "ids do not rise"),
        (pa.array(["a", None, "c"]), COUNTED, "nulls"),
        (pa.array(["a", "b", "c"]), pa.array([0, 2, 1], pa.int32()), "do not run from 0"),
        (pa.array(["a", "b", "c"]), pa.array([0, 1, None], pa.int32()), "nulls"),
        (pa.array(["a", "b", "c"]), COUNTED.cast(pa.int64()), "other types"),
        (pa.array([1, 2, 3]), COUNTED, "other types"),
    ],
)
def test_a_damaged_vocabulary_is_refused(ids: pa.Array, indices: pa.Array, message: str, tmp_path: Path) -> None:
    write(tmp_path, ids, indices)
    with pytest.raises(InputError, match=message):
        check_vocabulary(tmp_path, "item", 3)


def test_the_order_is_checked_across_batches(tmp_path: Path) -> None:
    names = [f"{number:06d}" for number in range(70_000)]  # more than pyarrow reads at once
    counted = pa.array(range(70_000), pa.int32())
    write(tmp_path, pa.array(names), counted)
    check_vocabulary(tmp_path, "item", 70_000)
    write(tmp_path, pa.array([*names[:65_536], names[65_535], *names[65_537:]]), counted)
    with pytest.raises(InputError, match="ids do not rise"):
        check_vocabulary(tmp_path, "item", 70_000)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and nothing else PAR1"])
def test_a_file_that_is_no_parquet_is_refused(content: bytes | None, spark: SparkSession, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "items.parquet").write_bytes(content)
    with pytest.raises(InputError, match="no intact Parquet file"):
        check_vocabulary(tmp_path, "item", 3)
    with pytest.raises(InputError, match="no intact Parquet file"):
        read_vocabulary(spark, tmp_path, "item")


def test_more_ids_than_an_index_can_count_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST_ROWS", 3)
    with pytest.raises(InputError, match="more than 3 items"):
        write_vocabulary(tmp_path, "item", [pa.array(["a", "b", "c", "d"])])
