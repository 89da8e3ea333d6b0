"""No run commits after it has lost its lock: leases on a server of S3's protocol, tables on local Iceberg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.errors import PassingError
from recsae_lib.platform.storage import leases, object_store
from recsae_lib.platform.storage.locks import Fence, hold_night
from recsae_lib.platform.storage.object_store import ObjectStore, StoredObject
from recsae_lib.platform.warehouse.fencing import RUN_PROPERTY, TOKEN_PROPERTY
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import CONCEPT_RATINGS, ITEMS, REJECTS
from tests.object_storage import object_storage

pytestmark = pytest.mark.integration

DT = date(2026, 11, 20)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("fenced") as address:
        yield address


@contextmanager
def writing(spark: SparkSession, locks: str, name: str, run: str) -> Iterator[Warehouse]:
    """The tables, as a run sees them that holds the lock of their namespace."""
    fence = Fence()
    with hold_night(locks, {name: "write"}, DT, run, fence):
        yield Warehouse(spark, "recsae", dict.fromkeys(("data", "model", "audit"), name), DT, locks=fence)


def items(spark: SparkSession, *names: str) -> DataFrame:
    return spark.createDataFrame([(name, name, "", []) for name in names], ITEMS.row_schema)


def names_in(warehouse: Warehouse) -> list[str]:
    return sorted(row["item_id"] for row in warehouse.read(ITEMS).collect())


def sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of the storage pass while the holders before do not wake up, as in a paused virtual machine."""
    time_of = object_store._time_of
    monkeypatch.setattr(
        object_store, "_time_of", lambda response: time_of(response) + leases.SECONDS_TO_LIVE + 1
    )


def test_a_holder_whose_lease_was_taken_commits_nothing(
    spark: SparkSession, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "fenced_taken"
    with writing(spark, bucket, name, "asleep") as late:
        late.replace(ITEMS, items(spark, "before"))
        sleeps(monkeypatch)
        with writing(spark, bucket, name, "awake") as present:
            references = late.references(ITEMS)
            rejects = spark.createDataFrame([], REJECTS.row_schema)
            ratings = spark.createDataFrame([], CONCEPT_RATINGS.versioned_row_schema)
            for commit in (
                lambda: late.replace(ITEMS, items(spark, "late")),
                lambda: late.replace(REJECTS, rejects),  # which is not there yet
                lambda: late.merge(CONCEPT_RATINGS, ratings),
                lambda: late.drop_branch(ITEMS),
                lambda: late.at(date(2026, 11, 19)).replace(ITEMS, items(spark, "late")),
            ):
                with pytest.raises(PassingError, match="asleep has lost the lock"):
                    commit()
            assert late.references(ITEMS) == references
            assert not present.exists(REJECTS)
            present.replace(ITEMS, items(spark, "present"))
            assert names_in(late) == ["present"]


def test_nobody_commits_while_the_storage_of_locks_is_silent(
    spark: SparkSession, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> StoredObject:
        raise PassingError("The storage of the locks is silent", "Wait")

    with writing(spark, bucket, "fenced_silent", "cut off") as warehouse:
        warehouse.replace(ITEMS, items(spark, "before"))
        monkeypatch.setattr(ObjectStore, "read", refuse)
        with pytest.raises(PassingError, match="is silent"):
            warehouse.replace(ITEMS, items(spark, "after"))
        monkeypatch.undo()
        assert names_in(warehouse) == ["before"]


def test_a_greater_token_of_another_run_on_the_branch_stops(spark: SparkSession, tmp_path: Path) -> None:
    """The lock says nothing here, as after a folder of locks was moved: each run has one of its own."""
    places = [str(tmp_path / place) for place in ("old", "new")]
    with writing(spark, places[0], "fenced_tokens", "first") as first:
        first.replace(ITEMS, items(spark, "first"))
        with writing(spark, places[0], "fenced_tokens", "first") as again:  # another job of the same run
            again.replace(ITEMS, items(spark, "again"))
        first.replace(ITEMS, items(spark, "first"))
        guard = tmp_path / "new" / "fenced_tokens" / str(DT) / "night" / "guard"
        guard.parent.mkdir(parents=True)
        guard.write_text(str(10**12))
        with writing(spark, places[1], "fenced_tokens", "second") as second:
            second.replace(ITEMS, items(spark, "second"))
            with pytest.raises(PassingError, match="second took the lock of .* after first"):
                first.replace(ITEMS, items(spark, "first"))
            assert names_in(first) == ["second"]


def test_a_snapshot_names_the_run_and_the_token_of_its_lock(spark: SparkSession, tmp_path: Path) -> None:
    with writing(spark, str(tmp_path), "fenced_named", "nightly for shop") as warehouse:
        warehouse.replace(ITEMS, items(spark, "one"))
        (night,) = warehouse.locks.nights  # type: ignore[union-attr]
        summary = warehouse.iceberg(ITEMS).snapshot(warehouse.branch).summary()
        assert summary.get(RUN_PROPERTY) == "nightly for shop"
        assert summary.get(TOKEN_PROPERTY) == str(night.hold.token)


def test_a_commit_between_look_and_write_is_seen(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is lost, and another run has written, while Spark is at work on the rows."""
    with writing(spark, str(tmp_path / "a"), "fenced_between", "first") as first:
        first.replace(ITEMS, items(spark, "before"))
        with writing(spark, str(tmp_path / "b"), "fenced_between", "second") as second:
            overwrite, late = Warehouse._overwrite, []

            def overwrite_late(warehouse: Warehouse, *arguments: object) -> None:
                if warehouse is first and not late:
                    late.append(warehouse)
                    second.replace(ITEMS, items(spark, "second"))
                overwrite(warehouse, *arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(Warehouse, "_overwrite", overwrite_late)
            monkeypatch.setattr(second.locks.nights[0].hold.__class__, "token", 10**12, raising=False)  # type: ignore[union-attr]
            with pytest.raises(PassingError, match="second took the lock"):
                first.replace(ITEMS, items(spark, "first"))
            assert names_in(first) == ["second"]
