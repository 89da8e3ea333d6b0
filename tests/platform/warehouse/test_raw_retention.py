from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime, timedelta, timezone

import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.warehouse.nights import Nights
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.raw_retention import drop_raw_nights, merge_small_files
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, INTERACTIONS, ITEMS
from tests.publishing import publish

FIRST = date(2026, 11, 1)
SCHEMA = "sae_version int, unit_kind string, metric string, value double"
NightOf = Callable[[int], Warehouse]


@pytest.fixture
def night(spark: SparkSession, request: pytest.FixtureRequest) -> NightOf:
    namespace = "retained_" + str(abs(hash(request.node.name)))
    scopes = {"data": namespace, "model": namespace, "audit": namespace}
    return lambda number: Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))


def write(warehouse: Warehouse, *titles: str) -> None:
    spark = warehouse.spark
    items = [(f"i{number}", title, "text", ["war"], []) for number, title in enumerate(titles)]
    warehouse.replace(ITEMS, spark.createDataFrame(items, ITEMS.schema))
    warehouse.replace(AUDIT_METRICS, spark.createDataFrame([(1, "sae", "fvu", float(len(titles)))], SCHEMA))
    publish(warehouse)
    warehouse.drop_branch(ITEMS)  # which the upkeep does once the night is over


def expire(warehouse: Warehouse) -> None:
    later = int((datetime.now(timezone.utc) + timedelta(seconds=5)).timestamp() * 1000)
    warehouse.iceberg(ITEMS).expireSnapshots().expireOlderThan(later).retainLast(1).commit()


def drop(warehouse: Warehouse, keep_nights: int) -> list[str]:
    with Nights(lambda _: nullcontext()) as nights:
        return drop_raw_nights(warehouse, warehouse.dt, keep_nights, nights)


def titles_as_of(warehouse: Warehouse) -> list[str]:
    rows = run_query(warehouse, "SELECT title FROM items", as_of=warehouse.dt).collect()
    return sorted(row["title"] for row in rows)


def test_raw_rows_of_past_nights_leave_and_never_turn_into_others(night: NightOf) -> None:
    for number in range(4):
        write(night(number), *"abcd"[: number + 1])
    names = [f"published-{night(0).namespaces['audit']}-2026-11-0{number}-{number}" for number in (1, 2, 3, 4)]
    assert drop(night(3), 2) == names[:2]
    assert drop(night(3), 2) == []
    expire(night(3))
    assert set(night(3).references(ITEMS)) == {"main", *names[2:]}
    assert set(night(3).references(AUDIT_METRICS)) == {"main", *names}
    for number in (0, 1):
        with pytest.raises(InputError, match=f"items no longer holds what the audit of {night(number).dt} has read"):
            titles_as_of(night(number))
        with pytest.raises(InputError, match="no longer holds what the audit of"):
            night(number).read(ITEMS)
        (row,) = run_query(
            night(number), "SELECT max(value) AS value FROM audit_metrics", as_of=night(number).dt
        ).collect()
        assert row["value"] == number + 1
    assert titles_as_of(night(2)) == ["a", "b", "c"]
    assert titles_as_of(night(3)) == ["a", "b", "c", "d"]


def test_nights_that_share_a_snapshot_stay_readable(night: NightOf) -> None:
    for number in range(3):
        write(night(number), "a", "b")
    assert len(drop(night(2), 1)) == 2
    expire(night(2))
    assert titles_as_of(night(0)) == ["a", "b"]  # what was read then


def test_the_newest_night_stays_after_a_pause_or_for_a_future_date(night: NightOf) -> None:
    assert drop(night(0), 1) == []
    write(night(0), "a")
    write(night(1), "a", "b")
    write(night(0), "a", "c")  # again, late: the last publication
    assert drop(night(400), 2) == []
    assert drop(night(400), 1) == []
    write(night(2), "d")
    assert len(drop(night(400), 2)) == 2
    assert titles_as_of(night(2)) == ["d"]


def test_a_night_that_a_run_holds_keeps_its_raw_rows(night: NightOf) -> None:
    for number in range(3):
        write(night(number), *"abcd"[: number + 1])

    def hold(dt: date) -> AbstractContextManager[None]:
        if dt == night(0).dt:
            raise PassingError("A run works on it", "Wait")
        return nullcontext()

    with Nights(hold) as nights:
        (tag,) = drop_raw_nights(night(2), night(2).dt, 1, nights)
    assert "2026-11-02" in tag


def test_tags_of_the_release_before_leave_too(night: NightOf) -> None:
    write(night(40), "a")
    iceberg = night(40).iceberg(ITEMS)
    for tag in ("published-2026-11-01", "published-2026-12-10", "published-legal"):
        iceberg.manageSnapshots().createTag(tag, iceberg.currentSnapshot().snapshotId()).commit()
    assert drop(night(40), 30) == ["published-2026-11-01"]


def test_files_of_nights_are_merged_with_each_other_alone(night: NightOf) -> None:
    def rows(first: int, last: int) -> list[tuple[str, str, float, datetime, int]]:
        moment = datetime(2026, 1, 1)
        return [(f"u{n % 7}", f"i{n}", 1.0, moment + timedelta(seconds=n), n) for n in range(first, last)]

    spark, written = night(0).spark, rows(0, 20_000)
    for number in range(7):
        written += rows(20_000 + 20 * number, 20_020 + 20 * number)
        night(number).replace(INTERACTIONS, spark.createDataFrame(written, INTERACTIONS.schema))
        publish(night(number))

    def files() -> dict[str, int]:
        found = spark.table(f"{night(0).full_name(INTERACTIONS)}.files").select("file_path", "record_count").collect()
        return {row["file_path"]: row["record_count"] for row in found}

    before = files()
    (base,) = [path for path, count in before.items() if count > 10_000]
    assert len(before) == 7
    merge_small_files(night(6), INTERACTIONS)
    assert sorted(files().values()) == [120, 20_020]
    assert base in files()
    merge_small_files(night(6), INTERACTIONS)
    assert len(files()) == 2
