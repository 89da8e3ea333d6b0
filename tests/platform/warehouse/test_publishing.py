"""What readers see while audits are published: always one whole audit, the one before or this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.platform.warehouse import publishing
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.publishing import complete_publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, AUDITS, CONCEPT_LABELS, ITEMS, REJECTS, Table
from tests.publishing import publish

MONDAY, TUESDAY, WEDNESDAY = (date(2026, 11, day) for day in (23, 24, 25))
AUDITS_BRANCH = f"publish-{MONDAY}"
DATES = {"monday": MONDAY, "tuesday": TUESDAY, "wednesday": WEDNESDAY}
# Each audit writes one version into every table; a reader that sees two of them at one date sees half an audit.
WRITTEN = (ITEMS, REJECTS, AUDIT_METRICS, CONCEPT_LABELS)
SEEN = (
    "SELECT dt, sae_version AS version FROM audit_metrics UNION ALL SELECT dt, sae_version FROM concept_labels "
    "UNION ALL SELECT dt, CAST(reason AS INT) FROM rejects UNION ALL SELECT NULL, CAST(title AS INT) FROM items"
)
Seen = dict[date | None, list[int]]  # versions of each date; at None that of items


class KilledError(Exception):
    """Ends a run in its middle."""


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "publishing_" + str(abs(hash(request.node.name)))


def warehouse_of(spark: SparkSession, name: str, dt: date, model: str | None = None) -> Warehouse:
    own = name if model is None else f"{name}__{model}"
    return Warehouse(spark, "recsae", {"data": name, "model": own, "audit": own}, dt)


def write(warehouse: Warehouse, version: int, only: tuple[Table, ...] = ()) -> None:
    """Write what the jobs of an audit write, all of it with its version."""
    spark, text = warehouse.spark, str(version)
    rows: dict[Table, DataFrame] = {
        ITEMS: spark.createDataFrame([("i", text, "", [], None)], ITEMS.schema),
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
    found: Seen = {}
    for dt, version in run_query(warehouse, SEEN, as_of=as_of).collect():
        found.setdefault(dt, []).append(version)
    return found


def whole(items: int, **versions: int) -> Seen:
    """What readers see of whole audits: each table of a date has the same version."""
    return {None: [items], **{DATES[name]: [version] * 3 for name, version in versions.items()}}


def commits(spark: SparkSession, name: str) -> int:
    """How many commits the tables of a test have had: each has a file of its own."""
    namespaces = Path(str(spark.conf.get("spark.sql.catalog.recsae.warehouse"))).glob(f"{name}*")
    return sum(1 for namespace in namespaces for _ in namespace.glob("*/metadata/v*.metadata.json"))


@dataclass
class KillAt:
    """Ends a run at a change of a table; those that commit nothing do not count, for nothing lies between them.

    Parameters
    ----------
    left : how many changes it has until then; 0 for no end.
    made : commits until now.
    """

    spark: SparkSession
    name: str
    left: int
    made: int

    def __call__(self) -> None:
        before, self.made = self.made, commits(self.spark, self.name)
        if self.made > before:
            self.left -= 1
            if self.left == 0:
                raise KilledError


def watch(monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
    """Call `look` after every change of a table; some change nothing, and make no commit."""
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
    monkeypatch.setattr(publishing, "AUDIT_TABLES", WRITTEN)
    # One after the other, so that there is a moment between any two commits.
    monkeypatch.setattr(publishing, "side_by_side", lambda action, given: [action(one) for one in given])


CASES: dict[str, tuple[list[tuple[date, int]], tuple[date, int], Seen, Seen]] = {
    "first": ([], (MONDAY, 1), {}, whole(1, monday=1)),
    "next": ([(MONDAY, 1)], (TUESDAY, 2), whole(1, monday=1), whole(2, monday=1, tuesday=2)),
    "again": (
        [(MONDAY, 1), (TUESDAY, 2)],
        (MONDAY, 3),
        whole(2, monday=1, tuesday=2),
        whole(2, monday=3, tuesday=2),
    ),
    "late": (
        [(MONDAY, 1), (WEDNESDAY, 2)],
        (TUESDAY, 3),
        whole(2, monday=1, wednesday=2),
        whole(2, monday=1, tuesday=3, wednesday=2),
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
    warehouse, readers = warehouse_of(spark, name, dt), warehouse_of(spark, name, date(2027, 1, 1))
    looks: list[Seen] = []
    write(warehouse, version)
    if earlier:
        assert seen(readers) == before
    made = 0

    def look() -> None:
        nonlocal made
        if looks and made == commits(spark, name):
            looks.append(looks[-1])
            return
        made = commits(spark, name)
        looks.append(seen(readers))
        if earlier:  # as of the newest date before, what was published then
            assert seen(readers, as_of=max(dt for dt, _ in earlier)) == before

    watch(monkeypatch, look)
    publish(warehouse)
    monkeypatch.undo()
    switch = looks.index(after)
    assert switch > len(WRITTEN)
    assert all(found == before for found in looks[:switch])
    assert all(found == after for found in looks[switch:])
    assert len(looks) > switch + len(WRITTEN)
    assert seen(readers) == after
    # Engines that know nothing of `audits` find the same on main in the end.
    on_main = spark.table(warehouse.full_name(AUDIT_METRICS)).collect()
    assert {row["dt"]: [row["sae_version"]] * 3 for row in on_main} == {dt: v for dt, v in after.items() if dt}
    assert [int(row["title"]) for row in spark.table(warehouse.full_name(ITEMS)).collect()] == after[None]


def test_a_publication_killed_at_any_commit_is_completed(
    spark: SparkSession, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, newer, readers = (warehouse_of(spark, name, dt) for dt in (MONDAY, TUESDAY, date(2027, 1, 1)))
    for version, warehouse in enumerate((late, newer), start=1):
        write(warehouse, version)
        publish(warehouse)
    kill, version, before, killed_after = 0, 3, whole(2, monday=1, tuesday=2), []
    while kill in (0, len(killed_after)):  # until a publication has fewer commits than that
        kill, version = kill + 1, version + 1
        write(late, version)
        after = whole(2, monday=version, tuesday=2)
        kill_there = KillAt(spark, name, kill, commits(spark, name))
        with monkeypatch.context() as patched:
            watch(patched, kill_there)
            try:
                publish(late)
            except KilledError:
                killed_after.append(kill)
            kill_there.left = 0
            found = seen(readers)
            assert found in (before, after), kill
            # The next start: of another date, or of this one, which publishes what is not published.
            complete_publications(newer)
            assert seen(readers) == found
            if publishing.unpublished_tables(late):
                publish(late)
            assert seen(readers) == after
            assert [table.name for table in WRITTEN[2:] if late.branch in late.references(table)] == []
        before = after
    assert len(killed_after) > 10


def test_models_on_the_same_data_publish_each_their_own(spark: SparkSession, name: str) -> None:
    first, second = (warehouse_of(spark, name, MONDAY, model) for model in ("a", "b"))
    later = warehouse_of(spark, name, TUESDAY, "a")
    write(first, 1)
    write(second, 2, only=(AUDIT_METRICS, CONCEPT_LABELS))
    publish(first)
    write(later, 3)
    publish(later)
    publish(second)  # what it shares is what it has read, not what came to main since
    assert seen(second) == {MONDAY: [2, 2, 1], None: [1]}
    assert seen(first) == whole(3, monday=1, tuesday=3)


def test_two_dates_published_at_once_are_both_published(
    spark: SparkSession, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monday, tuesday = (warehouse_of(spark, name, dt) for dt in (MONDAY, TUESDAY))
    write(monday, 1)
    write(tuesday, 2)
    rebased: list[int] = []

    def look() -> None:
        if not rebased and AUDITS_BRANCH in monday.references(AUDITS):
            rebased.append(1)
            publish(tuesday)

    watch(monkeypatch, look)
    assert publish(monday).number == 2
    monkeypatch.undo()
    assert [(p.number, p.dt) for p in publications(monday)] == [(1, TUESDAY), (2, MONDAY)]
    assert seen(monday) == whole(2, monday=1, tuesday=2)


def test_shared_tables_are_read_as_each_model_published(spark: SparkSession, name: str) -> None:
    first, second = (warehouse_of(spark, name, MONDAY, model) for model in ("a", "b"))
    for version, warehouse in enumerate((first, second), start=1):  # the second ingests the date anew
        write(warehouse, version)
        publish(warehouse)
    later = warehouse_of(spark, name, TUESDAY, "a")
    write(later, 3)
    publish(later)
    assert seen(first) == whole(3, monday=1, tuesday=3)
    assert seen(second) == whole(2, monday=2)
    on_main = spark.table(first.full_name(REJECTS)).collect()
    assert {row["dt"]: row["reason"] for row in on_main} == {MONDAY: "2", TUESDAY: "3"}


def test_the_same_rows_ingested_again_are_no_news(spark: SparkSession, name: str) -> None:
    monday = warehouse_of(spark, name, MONDAY)
    write(monday, 1)
    publish(monday)
    write(monday, 1, only=(ITEMS, REJECTS))  # as a start after a kill does
    assert publishing.unpublished_tables(monday) == []
    write(monday, 2, only=(REJECTS,))
    assert publishing.unpublished_tables(monday) == [REJECTS]
