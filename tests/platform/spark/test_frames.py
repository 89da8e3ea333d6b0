"""Rows from the driver keep their types and nulls, and need no task; rows that are kept are computed once."""

from __future__ import annotations

import pytest
from pyspark import StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.platform.spark import frames
from recsae_lib.platform.spark.frames import free, keep, keep_on_disk, local_frame

SCHEMA = "name string, number bigint, share double, fits boolean, parts array<string>"


def test_rows_of_the_driver(spark: SparkSession) -> None:
    rows = [("a", 2**60 + 1, 0.5, True, ["x", "y"]), (None, None, None, None, None), ("b", 0, -1.0, False, [])]
    frame = local_frame(spark, rows, SCHEMA)
    assert list(map(tuple, frame.collect())) == rows
    assert frame.schema == spark.createDataFrame([], SCHEMA).schema
    assert "LocalRelation" in frame._jdf.queryExecution().optimizedPlan().toString()
    nothing = local_frame(spark, [], SCHEMA)
    assert (nothing.collect(), nothing.schema) == ([], frame.schema)


def test_rows_are_kept_until_they_are_let_go(spark: SparkSession) -> None:
    stored = spark.sparkContext._jsc.getPersistentRDDs
    before = set(stored())
    kept = keep(spark.range(100).select(F.rand().alias("drawn")).repartition(3, "drawn"))
    assert sorted(kept.collect()) == sorted(kept.collect())
    assert len(set(stored()) - before) == 1
    free(kept)
    assert set(stored()) <= before


def test_rows_on_disk_are_as_many_parts_as_their_bytes_ask_for(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewest = spark.sparkContext.defaultParallelism
    rows = spark.range(10 * fewest).repartition(fewest + 3)  # 8 bytes each, as Spark estimates them
    found = []
    for part_bytes in (1 << 20, 8 * 10 * fewest // (fewest + 1), 8):
        monkeypatch.setattr(frames, "PART_BYTES", part_bytes)
        kept = keep_on_disk(rows)
        assert kept.storageLevel == StorageLevel.DISK_ONLY
        assert sorted(row[0] for row in kept.collect()) == list(range(10 * fewest))
        found.append(kept.rdd.getNumPartitions())
        kept.unpersist()
    assert found == [fewest, fewest + 1, fewest + 3]
