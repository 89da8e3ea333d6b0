"""What readers see while audits are published: always one whole audit, the one before or this one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.publishing import complete_publications, unpublished_tables
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, AUDITS, CONCEPT_LABELS, CONCEPTS, ITEMS, REJECTS, Table
from tests.publishing import publish

MONDAY, TUESDAY, WEDNESDAY = (date(2026, 11, day) for day in (23, 24, 25))
# Each audit writes one version into every table; a reader that sees two of them at one date sees half an audit.
SEEN = (
    "SELECT m.dt, m.sae_version, l.sae_version, l.label, i.title, r.reason FROM audit_metrics m "
    "FULL JOIN concept_labels l ON l.dt = m.dt FULL JOIN rejects r ON r.dt = m.dt CROSS JOIN items i ORDER BY 1"
)
Seen = list[tuple[Any, ...]]


class Killed(Exception):
    """Ends a run in its middle."""


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "publishing_" + str(abs(hash(request.node.name)))


def warehouse_of(spark: SparkSession, name: str, dt: date, model: str | None = None) -> Warehouse:
    own = name if model is None else f"{name}__{model}"
    return Warehouse(spark, "recsae", {"data": name, "model": own, "audit": own}, dt)


def write(warehouse: Warehouse, version: int, only: tuple[Table, ...] = ()) -> None:
    """Write what the jobs of an audit write, all of it with its version."""
    spark, text = warehouse.spark, f"v{version}"
    rows: dict[Table, DataFrame] = {
        ITEMS: spark.createDataFrame([("i", text, "", [])], ITEMS.schema),
        REJECTS: spark.createDataFrame([("items", "file", 1, text, "")], REJECTS.row_schema),
        AUDIT_METRICS: spark.createDataFrame([(version, "sae", "fvu", 0.5)], AUDIT_METRICS.versioned_row_schema),
        CONCEPT_LABELS: spark.createDataFrame(
            [(version, 1, text, "", [], "terms", None, None, None, "labelled")], CONCEPT_LABELS.versioned_row_schema
        ),
    }
    for table, frame in rows.items():
        if not only or table in only:
            warehouse.replace(table, frame)


def seen(warehouse: Warehouse, as_of: date | None = None) -> Seen:
    return [tuple(row) for row in run_query(warehouse, SEEN, as_of=as_of).collect()]


def row(dt: date, version: int, items: int | None = None) -> tuple[Any, ...]:
    return (dt, version, version, f"v{version}", f"v{items or version}", f"v{version}")


def watch(monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
    """Call `look` after every commit to a table."""
    original, busy = Warehouse.change, [False]

    def change(warehouse: Warehouse, table: Table, action: Callable[[], Any]) -> Any:
        answer = original(warehouse, table, action)
        if not busy[0]:
            busy[0] = True
            try:
                look()
            finally:
                busy[0] = False
        return answer

    monkeypatch.setattr(Warehouse, "change", change)
    # One after the other, so that there is a moment between any two commits.
    monkeypatch.setattr(
        "recsae_lib.platform.warehouse.publishing.side_by_side", lambda action, given: [action(one) for one in given]
    )


CASES: dict[str, tuple[list[tuple[date, int]], tuple[date, int], Seen, Seen]] = {
    "first": ([], (MONDAY, 1), [], [row(MONDAY, 1)]),
    "next": (
        [(MONDAY, 1)],
        (TUESDAY, 2),
        [row(MONDAY, 1)],
        [row(MONDAY, 1, items=2), row(TUESDAY, 2)],
    ),
    "again": (
        [(MONDAY, 1), (TUESDAY, 2)],
        (MONDAY, 3),
        [row(MONDAY, 1, items=2), row(TUESDAY, 2)],
        [row(MONDAY, 3, items=2), row(TUESDAY, 2)],
    ),
    "late": (
        [(MONDAY, 1), (WEDNESDAY, 2)],
        (TUESDAY, 3),
        [row(MONDAY, 1, items=2), row(WEDNESDAY, 2)],
        [row(MONDAY, 1, items=2), row(TUESDAY, 3, items=2), row(WEDNESDAY, 2)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_readers_see_whole_audits_between_all_commits(
    spark: SparkSession, name: str, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    earlier, (dt, version), before, after = CASES[case]
    for earlier_dt, earlier_version in earlier:
        write(warehouse_of(spark, name, earlier_dt), earlier_version)
        publish(warehouse_of(spark, name, earlier_dt))
    warehouse, looks = warehouse_of(spark, name, dt), []
    readers = warehouse_of(spark, name, date(2027, 1, 1))
    newest = max((earlier_dt for earlier_dt, _ in earlier), default=dt)

    def look() -> None:
        if not all(readers.exists(table) for table in (ITEMS, REJECTS, AUDIT_METRICS, CONCEPT_LABELS)):
            return
        looks.append(seen(readers))
        if earlier:
            known = seen(readers, as_of=newest)
            assert known == before, "as of a date, what was published then"
        whole = warehouse.published()
        of_date = {tuple(r)[1] for t in (AUDIT_METRICS, CONCEPT_LABELS) for r in whole.read(warehouse, t).collect()}
        assert len(of_date) <= 1

    watch(monkeypatch, look)
    write(warehouse, version)
    publish(warehouse)
    monkeypatch.undo()
    switch = looks.index(after)
    assert switch > 4
    assert all(look == before for look in looks[:switch])
    assert all(look == after for look in looks[switch:])
    assert len(looks) > switch + 4
    assert seen(readers) == after
    # Engines that know nothing of `audits` find the same on main in the end.
    on_main = spark.table(warehouse.full_name(AUDIT_METRICS)).orderBy("dt").collect()
    assert [(r["dt"], r["sae_version"]) for r in on_main] == [(r[0], r[1]) for r in after]
    assert [r["title"] for r in spark.table(warehouse.full_name(ITEMS)).collect()] == [after[-1][4]]
