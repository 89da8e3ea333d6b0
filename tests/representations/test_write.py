from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from petastorm.reader import make_batch_reader
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import RepresentationSettings
from recsae_lib.errors import InputError
from recsae_lib.representations.extract import write_sites
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.representations.write import WrittenSet, write_representations, write_sets

DIMENSION = 64


def target_in(bulk: Path) -> RepresentationSet:
    return RepresentationSet(str(bulk), "recommender-shop", 3, "last", "training", date(2026, 11, 20))


def representations(spark: SparkSession, rows: int, partitions: int = 3) -> DataFrame:
    """Users u0, u1, … whose representations hold 64 hashes of their number."""
    values = F.transform(
        F.sequence(F.lit(1), F.lit(DIMENSION)), lambda index: (F.xxhash64("id", index) / 2.0**63).cast("float")
    )
    return spark.range(0, rows, 1, partitions).select(
        F.concat(F.lit("u"), F.col("id")).alias("user_id"), values.alias("representation")
    )


def footers(folder: str) -> list[pq.FileMetaData]:
    return [pq.ParquetFile(file).metadata for file in sorted(Path(folder).glob("*.parquet"))]


def rows_of_groups(folder: str) -> list[int]:
    return [footer.row_group(index).num_rows for footer in footers(folder) for index in range(footer.num_row_groups)]


def users_in(folder: str) -> list[str]:
    tables = [pq.read_table(file, columns=["user_id"]) for file in Path(folder).glob("*.parquet")]
    return sorted(user for table in tables for user in table.column("user_id").to_pylist())


def test_row_groups_have_the_wanted_size_and_are_even(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    # 20,000 rows × (64 floats + a short id) are 5.1 to 5.5 MiB: 11 row groups of at most 0.5 MiB.
    written = write_representations(representations(spark, 20_000), target, 0.5, 4)
    assert written.rows == 20_000
    assert written.row_groups == 11
    groups = rows_of_groups(target.path)
    assert len(groups) == 11
    assert sum(groups) == 20_000
    assert max(groups) - min(groups) <= 3  # one row of each of the three tasks at most
    bytes_of_groups = [footer.row_group(0).total_byte_size for footer in footers(target.path)]
    assert max(bytes_of_groups) <= 0.5 * 2**20
    assert written.bytes == sum(file.stat().st_size for file in Path(target.path).glob("*.parquet"))


@pytest.mark.parametrize(("rows", "groups"), [(1, [1]), (3, [1, 1, 1]), (10, [2, 2, 3, 3]), (79, [19, 20, 20, 20])])
def test_the_minimum_of_row_groups_holds_if_rows_suffice(
    spark: SparkSession, tmp_path: Path, rows: int, groups: list[int]
) -> None:
    target = target_in(tmp_path)
    written = write_representations(representations(spark, rows), target, 16.0, 4)
    assert (written.rows, written.row_groups) == (rows, len(groups))
    assert sorted(rows_of_groups(target.path)) == groups


def test_no_rows_make_a_complete_and_empty_set(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    written = write_representations(representations(spark, 0), target, 16.0, 4)
    assert (written.rows, written.row_groups) == (0, 0)
    assert spark.read.parquet(target.require()).columns == ["user_id", "representation"]
    assert rows_of_groups(target.path) == []


def test_a_row_group_is_a_sample_of_all_users(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    write_representations(representations(spark, 8_000), target, 16.0, 4)
    for file in Path(target.path).glob("*.parquet"):
        numbers = [int(user[1:]) for user in pq.read_table(file, columns=["user_id"]).column(0).to_pylist()]
        share_of_first_half = np.mean(np.array(numbers) < 4_000)
        assert 0.45 < share_of_first_half < 0.55  # 2,000 fair draws: four standard deviations are 0.045


def test_petastorm_reads_what_was_written(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    rows = representations(spark, 500)
    write_representations(rows, target, 16.0, 4)
    read: dict[str, np.ndarray] = {}
    with make_batch_reader(f"file://{target.path}", reader_pool_type="dummy", shuffle_row_groups=False) as reader:
        for batch in reader:
            read.update(zip(batch.user_id, batch.representation, strict=True))
    expected = {row.user_id: np.array(row.representation, dtype=np.float32) for row in rows.collect()}
    assert read.keys() == expected.keys()
    assert all(np.array_equal(read[user], expected[user]) for user in expected)


def test_a_second_run_replaces_the_first(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    write_representations(representations(spark, 50), target, 16.0, 4)
    write_representations(representations(spark, 5), target, 16.0, 1)
    assert users_in(target.path) == ["u0", "u1", "u2", "u3", "u4"]


def test_a_failure_keeps_the_old_set_and_the_next_run_cleans_up(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    write_representations(representations(spark, 5), target, 16.0, 1)
    failing = representations(spark, 50).withColumn(
        "user_id", F.when(F.col("user_id") == "u49", F.raise_error(F.lit("killed"))).otherwise(F.col("user_id"))
    )
    with pytest.raises(Py4JJavaError, match="killed"):
        write_representations(failing, target, 16.0, 4)
    assert users_in(target.require()) == ["u0", "u1", "u2", "u3", "u4"]
    beside = Path(target.path).parent
    assert [folder.name for folder in beside.iterdir()] != ["dt=2026-11-20"]  # something was staged
    assert [row["dt"] for row in spark.read.parquet(str(beside)).select("dt").distinct().collect()] == ["2026-11-20"]
    write_representations(representations(spark, 6), target, 16.0, 1)
    assert users_in(target.path) == ["u0", "u1", "u2", "u3", "u4", "u5"]
    assert [folder.name for folder in beside.iterdir()] == ["dt=2026-11-20"]


def test_a_set_left_half_moved_is_refused_and_replaced(spark: SparkSession, tmp_path: Path) -> None:
    target = target_in(tmp_path)
    write_representations(representations(spark, 40), target, 16.0, 4)
    (Path(target.path) / "_SUCCESS").unlink()
    next(Path(target.path).glob("*.parquet")).unlink()
    with pytest.raises(InputError, match="no complete representations"):
        target.require()
    write_representations(representations(spark, 40), target, 16.0, 4)
    assert len(users_in(target.require())) == 40


def test_other_bulk_rows_go_to_any_folder(spark: SparkSession, tmp_path: Path) -> None:
    folder = str(tmp_path / "item_embeddings")
    written = write_representations(
        spark.createDataFrame([("i0", [1.0])], "item_id string, embedding array<float>"), folder, 16.0, 4
    )
    assert isinstance(written, WrittenSet)
    assert [tuple(row) for row in spark.read.parquet(folder).collect()] == [("i0", [1.0])]


def test_several_sets_are_written_from_rows_computed_once(spark: SparkSession, tmp_path: Path) -> None:
    computed = spark.sparkContext.accumulator(0)

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            computed.add(batch.num_rows)
            yield batch

    columns = (
        "user_id",
        F.col("representation").alias("x@wide"),
        F.slice("representation", 1, 16).alias("x@narrow.0"),
    )
    rows = representations(spark, 3000).select(*columns)
    plain = representations(spark, 3000)
    counted = plain.mapInArrow(count, plain.schema).select(*columns)
    targets = {"x@wide": str(tmp_path / "wide" / "set"), "x@narrow.0": str(tmp_path / "narrow" / "set")}
    written = write_sets(counted, targets, "representation", 0.25, 2)
    assert computed.value == 3000
    # 3,000 rows × 64 floats are 0.75 MiB and more, × 16 floats 0.2 MiB: with ids 4 groups and 2.
    assert [(of.rows, of.row_groups) for of in written.values()] == [(3000, 4), (3000, 2)]
    expected = {row["user_id"]: row for row in rows.collect()}
    for column, folder in targets.items():
        assert (Path(folder) / "_SUCCESS").exists()
        table = pq.read_table(sorted(Path(folder).glob("*.parquet")))
        assert table.schema.names == ["user_id", "representation"]
        found = dict(zip(*table.to_pydict().values(), strict=True))
        assert found == {user: row[column] for user, row in expected.items()}
        assert max(footer.row_group(0).total_byte_size for footer in footers(folder)) <= 0.25 * 2**20
    assert not list(tmp_path.glob("*/.staging-*"))


def test_sites_are_written_from_one_pass(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("a", [1.0], [2.0, 3.0]), ("b", [4.0], [5.0, 6.0])]
    schema = "user_id string, `representation@last` array<float>, `representation@blocks.0` array<float>"
    dt = date(2026, 11, 20)
    sets = [RepresentationSet(str(tmp_path), "shop", 3, site, "last", dt) for site in ("last", "blocks.0")]
    written = write_sites(spark.createDataFrame(rows, schema), sets, RepresentationSettings(minimum_row_groups=1))
    assert [(one.rows, one.row_groups) for one in written] == [(2, 1), (2, 1)]
    for column, target in enumerate(sets, start=1):
        found = spark.read.parquet(target.require()).select("user_id", "representation").collect()
        assert sorted(map(tuple, found)) == [(row[0], row[column]) for row in rows]


def test_what_was_written_is_shown_in_one_line() -> None:
    assert WrittenSet(1200, 3 * 2**19, 4).line() == "1,200 rows, 1.5 MiB, 4 row groups"
