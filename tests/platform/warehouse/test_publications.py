from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.publications import (
    Publication,
    last_of_each_date,
    newest_publication,
    publications,
)
from recsae_lib.platform.warehouse.publishing import record_refusal
from recsae_lib.platform.warehouse.read_point import ReadPoint, read_point, read_point_as_of, read_point_of
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_ATTEMPTS, AUDIT_METRICS, AUDITS, Table
from tests.publishing import STARTED, origin, publish

NAME = "published"
METRIC = "sae_version int, unit_kind string, metric string, value double"


def warehouse_of(spark: SparkSession, day: int) -> Warehouse:
    return Warehouse(spark, "recsae", {"data": NAME, "model": NAME, "audit": NAME}, date(2026, 11, day))


def test_publications_are_listed_and_attempts_apart(spark: SparkSession) -> None:
    newest = warehouse_of(spark, 20)
    assert publications(newest) == []
    with pytest.raises(InputError, match="Run `recsae audit` first"):
        newest_publication(newest, [])
    record_refusal(newest, origin(4))
    with pytest.raises(InputError, match=r"refused by their checks: 2026-11-20\..*VERSION AS OF 'audit-2026-11-20'"):
        newest_publication(newest, publications(newest))
    for day, sae_version in ((20, 5), (21, 6), (20, 7)):
        night = warehouse_of(spark, day)
        night.replace(AUDIT_METRICS, spark.createDataFrame([(sae_version, "sae", "fvu", 0.5)], METRIC))
        publish(night, sae_version)
    record_refusal(warehouse_of(spark, 20), origin(8))  # a refused re-run takes nothing from what is published
    found = publications(newest)
    assert [(p.number, p.dt.day, p.model_version, p.sae_version) for p in found] == [
        (1, 20, 1, 5),
        (2, 21, 1, 6),
        (3, 20, 1, 7),
    ]
    assert {dt.day: p.number for dt, p in last_of_each_date(found).items()} == {21: 2, 20: 3}
    assert newest_publication(newest, found).sae_version == 6
    (row,) = warehouse_of(spark, 21).read_published(AUDITS).collect()
    assert row["started_at"].astimezone(timezone.utc) == STARTED < row["finished_at"].astimezone(timezone.utc)
    assert (row["config_digest"], row["code_version"], row["kept"]) == ("digest", "code", True)
    attempts = {(r["dt"].day, r["status"], r["publication"]) for r in newest.read_all(AUDIT_ATTEMPTS).collect()}
    assert attempts == {(20, "failed", None), (21, "published", 2)}  # one attempt, by its start, has one row


def test_a_snapshot_is_read_once_and_each_new_one_again(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dict.fromkeys(("data", "model", "audit"), "read_once")
    night = Warehouse(spark, "recsae", names, date(2026, 11, 20))
    read: list[int] = []
    read_snapshot = Warehouse.read_snapshot

    def counting(self: Warehouse, table: Table, snapshot: int) -> DataFrame | None:
        read.extend([snapshot] if table == AUDITS else [])
        return read_snapshot(self, table, snapshot)

    monkeypatch.setattr(Warehouse, "read_snapshot", counting)
    heads = []
    for number in (1, 2):
        night.replace(AUDIT_METRICS, spark.createDataFrame([(5, "sae", "fvu", number / 10)], METRIC))
        publish(night, 5)
        heads.append(night.references(AUDITS)["main"])
        assert [publication.number for publication in publications(night)] == list(range(1, number + 1))
        publications(night).clear()  # a reader's list is its own
    read.clear()
    assert [len(publications(night.at(date(2026, 11, day)))) for day in (20, 21)] == [2, 2]
    assert read == []
    assert [len(publications(night, head)) for head in heads] == [1, 2]
    assert read == heads


def publication(number: int, day: int, kept: bool = True) -> Publication:
    moment = datetime(2026, 12, number, 12, tzinfo=timezone.utc)
    return Publication(number, date(2026, 11, day), 1, number, moment, {"concepts": number}, kept)


FOUND = [
    *(publication(1, 18, kept=False), publication(2, 19), publication(3, 20), publication(4, 22)),
    *(publication(5, 20), publication(6, 19)),
]


def numbers(point: ReadPoint) -> tuple[int | None, int | None, list[int]]:
    latest, newest = point.latest, point.newest
    return latest and latest.number, newest and newest.number, [dt.day for dt in point.dates]


def test_readers_see_the_last_publication_of_each_date() -> None:
    assert numbers(read_point([])) == (None, None, [])
    assert numbers(read_point(FOUND)) == (6, 4, [22, 20, 19])
    assert numbers(read_point(FOUND[:1])) == (None, None, [])
    assert numbers(read_point_of(FOUND, date(2026, 11, 20))) == (5, 5, [20])
    assert numbers(read_point_of(FOUND, date(2026, 11, 18))) == (None, None, [18])


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (date(2026, 11, 30), (4, 4, [22, 20, 19])),
        (date(2026, 11, 21), (5, 5, [20, 19])),
        (date(2026, 11, 19), (6, 6, [19])),
        (date(2026, 11, 18), (None, None, [])),
        (datetime(2026, 12, 5, 12, tzinfo=timezone.utc), (5, 4, [22, 20, 19])),
        (datetime(2026, 12, 5, 11, 59, tzinfo=timezone.utc), (4, 4, [22, 20, 19])),
        (datetime(2026, 12, 1, tzinfo=timezone.utc), (None, None, [])),
    ],
)
def test_what_readers_saw_as_of_a_date_or_moment(as_of: date, expected: tuple[object, ...]) -> None:
    assert numbers(read_point_as_of(FOUND, as_of)) == expected
