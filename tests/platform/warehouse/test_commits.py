"""Commits to one table by several at once; the races on real catalogs are in test_catalogs.py."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse import commits


@pytest.fixture
def folder(spark: SparkSession, tmp_path: Path) -> Iterator[Path]:
    spark.conf.set("spark.sql.catalog.in_a_folder.type", "hadoop")
    spark.conf.set("spark.sql.catalog.in_a_folder.warehouse", str(tmp_path))
    yield tmp_path
    spark.conf.unset("spark.sql.catalog.in_a_folder.type")


def is_free(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_table_in_a_local_folder_is_changed_by_one_at_a_time(spark: SparkSession, folder: Path) -> None:
    locks = [folder / "shop" / f"{table}.lock" for table in ("items", "concepts")]
    locks[0].parent.mkdir()

    def both_free() -> list[bool]:
        return [is_free(lock) for lock in locks]

    assert commits.change(spark, "in_a_folder", "shop", "items", both_free) == [False, True]
    assert both_free() == [True, True]
    with pytest.raises(ZeroDivisionError):
        commits.change(spark, "in_a_folder", "shop", "items", lambda: 1 / 0)
    assert both_free() == [True, True]


@pytest.mark.parametrize("warehouse", ["s3a://bucket/warehouse", "hdfs://host/warehouse"])
def test_what_is_no_local_folder_needs_no_lock(spark: SparkSession, folder: Path, warehouse: str) -> None:
    spark.conf.set("spark.sql.catalog.in_a_folder.warehouse", warehouse)
    assert commits.change(spark, "in_a_folder", "shop", "items", lambda: 5) == 5
    assert list(folder.iterdir()) == []


def test_a_lost_race_is_tried_again_and_other_failures_are_not(
    spark: SparkSession, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "FIRST_PAUSE_SECONDS", 0.0)
    java = "An error occurred: org.apache.iceberg.exceptions.{}: Table metadata refresh is required"
    lost, other = (PySparkException(java.format(f"{kind}Exception")) for kind in ("CommitFailed", "Validation"))
    tries: list[Exception] = []

    def late(failures: int, error: Exception) -> int:
        tries.append(error)
        if len(tries) <= failures:
            raise error
        return len(tries)

    assert commits.change(spark, "in_a_folder", "shop", "items", lambda: late(3, lost)) == 4
    tries.clear()
    with pytest.raises(PySparkException):
        commits.change(spark, "in_a_folder", "shop", "items", lambda: late(1000, lost))
    assert len(tries) == commits.TRIES
    tries.clear()
    with pytest.raises(PySparkException):
        commits.change(spark, "in_a_folder", "shop", "items", lambda: late(1, other))
    assert len(tries) == 1
