"""No run commits after it has lost its lock: leases on a server of S3's protocol, tables on local Iceberg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.config import Scope
from recsae_lib.errors import PassingError
from recsae_lib.platform.storage import leases, object_store
from recsae_lib.platform.storage.locks import Fence, hold_night
from recsae_lib.platform.storage.object_store import ObjectStore, StoredObject
from recsae_lib.platform.warehouse import store
from recsae_lib.platform.warehouse.fencing import RUN_PROPERTY, TOKEN_PROPERTY
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import CONCEPT_RATINGS, ITEMS, REJECTS
from tests.catalogs import declare
from tests.object_storage import object_storage
from tests.rest_catalog import rest_catalog

pytestmark = pytest.mark.integration

DT = date(2026, 11, 20)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("fenced") as address:
        yield address


@contextmanager
def writing(spark: SparkSession, locks: str, name: str, run: str, catalog: str = "recsae") -> Iterator[Warehouse]:
    """The tables, as a run sees them that holds the lock of their namespace."""
    fence, namespaces = Fence(), dict[Scope, str](data=name, model=name, audit=name)
    with hold_night(locks, {name: "write"}, DT, run, fence):
        yield Warehouse(spark, catalog, namespaces, DT, locks=fence)


def items(spark: SparkSession, *names: str) -> DataFrame:
    return spark.createDataFrame([(name, name, "", [], []) for name in names], ITEMS.row_schema)


def names_in(warehouse: Warehouse) -> list[str]:
    return sorted(row["item_id"] for row in warehouse.read(ITEMS).collect())


def sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of the storage pass while the holders before do not wake up, as in a paused virtual machine."""
    time_of = object_store._time_of
    monkeypatch.setattr(object_store, "_time_of", lambda response: time_of(response) + leases.SECONDS_TO_LIVE + 1)


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


def begin_tokens(locks: str, name: str, last: int) -> None:
    """Let the next token of a lock in a folder be greater than `last`."""
    guard = Path(locks) / name / str(DT) / "night" / "guard"
    guard.parent.mkdir(parents=True)
    guard.write_text(str(last))


def test_a_greater_token_of_another_run_on_the_branch_stops(spark: SparkSession, tmp_path: Path) -> None:
    """The locks say nothing here: one of the runs was given another folder for them."""
    name, old, new = "fenced_tokens", str(tmp_path / "old"), str(tmp_path / "new")
    begin_tokens(new, name, 10**12)
    with writing(spark, old, name, "first") as first:
        first.replace(ITEMS, items(spark, "first"))
        with writing(spark, old, name, "first") as again:  # another job of the same run
            again.replace(ITEMS, items(spark, "again"))
        first.replace(ITEMS, items(spark, "first"))
        with writing(spark, new, name, "second") as second:
            second.replace(ITEMS, items(spark, "second"))
            with pytest.raises(PassingError, match=r"second took the lock of .* after first"):
                first.replace(ITEMS, items(spark, "first"))
            assert names_in(first) == ["second"]


def test_a_commit_of_another_run_meanwhile_is_not_overwritten(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is lost, and another run commits, while Spark is at work for the first one."""
    name, old, new = "fenced_between", str(tmp_path / "old"), str(tmp_path / "new")
    begin_tokens(new, name, 10**12)
    with rest_catalog(spark, tmp_path / "warehouse") as uri:
        catalog = declare(
            spark, "fenced_rest", type="rest", uri=uri, warehouse=str(tmp_path / "warehouse"), cache_enabled="false"
        )
        with (
            writing(spark, old, name, "first", catalog) as first,
            writing(spark, new, name, "second", catalog) as second,
        ):
            first.replace(ITEMS, items(spark, "before"))
            overwrite, looked = store.overwrite, []

            def overwrite_late(*arguments: Any) -> None:
                if not looked:
                    looked.append(arguments)
                    second.replace(ITEMS, items(spark, "second"))
                overwrite(*arguments)

            monkeypatch.setattr(store, "overwrite", overwrite_late)
            with pytest.raises(PassingError, match="second took the lock"):
                first.replace(ITEMS, items(spark, "first"))
            assert names_in(first) == ["second"]


def test_a_snapshot_names_the_run_and_the_token_of_its_lock(spark: SparkSession, tmp_path: Path) -> None:
    begin_tokens(str(tmp_path), "fenced_named", 10**12)
    with writing(spark, str(tmp_path), "fenced_named", "nightly for shop") as warehouse:
        warehouse.replace(ITEMS, items(spark, "one"))
        summary = warehouse.iceberg(ITEMS).snapshot(warehouse.branch).summary()
        assert summary.get(RUN_PROPERTY) == "nightly for shop"
        assert summary.get(TOKEN_PROPERTY) == str(10**12 + 1)
