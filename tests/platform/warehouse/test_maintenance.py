"""Upkeep of one table: what leaves, what stays whatever its age, and that nothing of people's is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import PassingError
from recsae_lib.platform.warehouse.maintenance import Retention, maintain_table, retire, state_of
from recsae_lib.platform.warehouse.nights import Nights
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import (
    AUDIT_METRICS,
    COMPARISONS,
    CONCEPT_RATINGS,
    RATING_METRICS,
    RATING_REJECTS,
    RATING_SAMPLES,
    REJECTS,
    Table,
)
from recsae_lib.representations.layout import remove_old_sets
from tests.publishing import publish

FIRST = date(2026, 11, 1)
SCHEMA = "sae_version int, unit_kind string, metric string, value double"
NightOf = Callable[[int], Warehouse]


@pytest.fixture
def night(spark: SparkSession, request: pytest.FixtureRequest) -> NightOf:
    namespace = "maintained_" + str(abs(hash(request.node.name)))
    scopes = {"data": namespace, "model": namespace, "audit": namespace}
    return lambda number: Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))


def write(warehouse: Warehouse, value: float) -> None:
    warehouse.replace(AUDIT_METRICS, warehouse.spark.createDataFrame([(1, "sae", "fvu", value)], SCHEMA))


def audit(warehouse: Warehouse, value: float, sae_version: int = 1) -> None:
    write(warehouse, value)
    publish(warehouse, sae_version)


def keep_all() -> Retention:
    return Retention(date(2000, 1, 1), datetime(2000, 1, 1, tzinfo=timezone.utc))


def drop_before(dt: date) -> Retention:
    return Retention(dt, datetime.now(timezone.utc) + timedelta(seconds=2))  # commits of this second are older


def nights(*held: date) -> Nights:
    """Nights of which other runs hold some."""

    @contextmanager
    def hold(dt: date) -> Iterator[None]:
        if dt in held:
            raise PassingError(f"The audit of {dt} is under way", "Wait")
        yield

    return Nights(hold)


def maintain(warehouse: Warehouse, retention: Retention, *held: date, compared: date | int | None = None) -> list[date]:
    """Maintain one table; returns the dates that leave."""
    with nights(*held) as free:
        left = retire(warehouse, retention, free, compared)
        maintain_table(warehouse, AUDIT_METRICS, retention, free)
    return sorted({publication.dt for publication in left})


def values(warehouse: Warehouse) -> list[float]:
    """Of each date, on main, as engines see it that know nothing of publications."""
    rows = warehouse.spark.table(warehouse.full_name(AUDIT_METRICS)).collect()
    return [row["value"] for row in sorted(rows, key=lambda row: row["dt"])]


def seen(warehouse: Warehouse, as_of: date | datetime | None = None) -> list[float]:
    """Of each date, as readers see it."""
    rows = run_query(warehouse, "SELECT value FROM audit_metrics ORDER BY dt", as_of=as_of).collect()
    return [row["value"] for row in rows]


def ours(warehouse: Warehouse) -> Collection[str]:
    return {name.replace(f"-{warehouse.namespaces['audit']}", "") for name in warehouse.references(AUDIT_METRICS)}


def test_nights_are_counted_from_the_newest_audit_at_most() -> None:
    newest = date(2026, 11, 20)

    def first(dt: date, newest: date | None = newest) -> date | None:
        return Retention.until(dt, newest, keep_nights=3, keep_snapshot_days=7).first_night

    assert first(newest) == date(2026, 11, 18)  # the date itself counts
    assert first(date(2026, 11, 10)) == date(2026, 11, 8)
    assert first(date(2062, 11, 20)) == date(2026, 11, 18)
    assert first(newest, None) is None
    moment = Retention.until(newest, newest, 3, 7).first_snapshot
    assert timedelta(days=6, hours=23) < datetime.now(timezone.utc) - moment < timedelta(days=7.1)


def test_nights_past_their_retention_leave_with_their_snapshots(night: NightOf) -> None:
    for number in range(5):
        audit(night(number), float(number))
    table, last = night(0).full_name(AUDIT_METRICS), night(4)
    second = publications(last)[1].snapshots["audit_metrics"]
    last.spark.sql(f"ALTER TABLE {table} CREATE TAG `quarter` AS OF VERSION {second}")
    write(night(1), 9.0)  # an audit of 2 November that has ended long ago
    retention = drop_before(FIRST + timedelta(days=3))
    # What was under way is compared with the audit before it, as long as it has its branch.
    assert maintain(last, retention) == [date(2026, 11, 2), date(2026, 11, 3)]
    assert maintain(last, retention) == [FIRST]
    for _ in range(2):  # again changes nothing
        assert values(last) == seen(last) == [3.0, 4.0]
        assert ours(last) == {"main", "quarter", "published-2026-11-04-4", "published-2026-11-05-5"}
        assert maintain(last, retention) == []
    assert [publication.kept for publication in publications(last)] == [False, False, False, True, True]
    kept = last.spark.read.option("tag", "quarter").table(table).orderBy("dt").collect()
    assert [row["value"] for row in kept] == [0.0, 1.0]
    assert state_of(last, AUDIT_METRICS).snapshots <= 8  # three tags, and what the upkeep made since
    audit(night(5), 5.0)
    assert values(last) == seen(last) == [3.0, 4.0, 5.0]


def test_the_newest_and_the_last_publication_never_leave(night: NightOf) -> None:
    for number in (9, 10, 2, 0):  # the last two come late
        audit(night(number), float(number))
    assert maintain(night(0), drop_before(FIRST + timedelta(days=400))) == [night(2).dt, night(9).dt]
    assert seen(night(0)) == values(night(0)) == [0.0, 10.0]
    assert seen(night(0), as_of=FIRST) == [0.0]


def test_a_moment_is_read_by_what_is_still_kept_of_it(night: NightOf) -> None:
    audit(night(1), 1.0)
    audit(night(0), 0.0)
    then = datetime.now(timezone.utc)
    audit(night(2), 2.0)
    assert maintain(night(2), drop_before(FIRST + timedelta(days=1))) == [FIRST]
    assert seen(night(2), as_of=then) == [1.0]


def test_nothing_leaves_of_a_night_that_a_run_holds(night: NightOf) -> None:
    for number in range(3):
        audit(night(number), float(number))
    write(night(0), 7.0)
    retention = drop_before(FIRST + timedelta(days=2))
    assert maintain(night(2), retention, night(0).dt) == [night(1).dt]
    assert seen(night(2)) == values(night(2)) == [0.0, 2.0]
    assert ours(night(2)) == {"main", "audit-2026-11-01", "published-2026-11-01-1", "published-2026-11-03-3"}
    publish(night(0))
    assert seen(night(2)) == [7.0, 2.0]


def test_a_branch_that_was_just_written_stays(night: NightOf) -> None:
    for number in (3, 4):
        audit(night(number), float(number))
    write(night(0), 7.0)  # a backfill; between two of its jobs nobody holds its night
    young = Retention(FIRST + timedelta(days=4), datetime.now(timezone.utc) - timedelta(days=1))
    maintain(night(4), young)
    assert night(0).branch in ours(night(4))
    maintain(night(4), drop_before(FIRST + timedelta(days=4)))
    assert night(0).branch not in ours(night(4))


def test_what_later_audits_are_compared_with_stays(night: NightOf) -> None:
    for number in range(5):
        audit(night(number), float(number), sae_version=1 if number < 2 else 2)
    retention = drop_before(FIRST + timedelta(days=4))
    assert maintain(night(4), retention, compared=1) == [FIRST, night(2).dt, night(3).dt]
    assert maintain(night(4), retention, compared=night(1).dt) == []
    assert seen(night(4)) == [1.0, 4.0]


def test_branches_and_tags_of_people_stay_and_break_nothing(night: NightOf) -> None:
    for number in range(3):
        audit(night(number), float(number))
    table, last = night(0).full_name(AUDIT_METRICS), night(2)
    tags = [
        "published-legal",
        "published-2026-13-45",
        "audit-2026-01-01",
        "published-Shop-2026-01-01-1",
        "published-x-1",
    ]
    branches = [
        "published-2026-01-01",
        "audit-2026-02-30",
        "audit-x",
        f"published-{last.namespaces['audit']}-2026-01-01-9",
    ]
    for kind, names in (("TAG", tags), ("BRANCH", branches)):
        for name in names:
            last.spark.sql(f"ALTER TABLE {table} CREATE {kind} `{name}`")
    assert maintain(last, drop_before(FIRST + timedelta(days=1))) == [FIRST]
    assert set(last.references(AUDIT_METRICS)) >= {*tags, *branches}
    assert seen(last) == [1.0, 2.0]
    assert seen(last, as_of=night(1).dt) == [1.0]


def test_tags_of_publications_that_never_came_to_be_go(night: NightOf) -> None:
    audit(night(0), 0.0)
    last, table = night(0), night(0).full_name(AUDIT_METRICS)
    namespace = last.namespaces["audit"]
    for name in (
        f"published-{namespace}-2026-11-01-2",
        f"published-{namespace}-2026-11-02-3",
        "published-other-2026-11-02-3",
    ):
        last.spark.sql(f"ALTER TABLE {table} CREATE TAG `{name}`")
    maintain(last, keep_all(), date(2026, 11, 2))
    assert ours(last) == {"main", "published-2026-11-01-1", "published-2026-11-02-3", "published-other-2026-11-02-3"}
    maintain(last, keep_all())
    assert ours(last) == {"main", "published-2026-11-01-1", "published-other-2026-11-02-3"}


def test_tags_of_the_release_before_leave_with_their_nights(night: NightOf) -> None:
    audit(night(1), 1.0)
    for dt in ("2026-10-31", "2026-11-02"):
        night(1).spark.sql(f"ALTER TABLE {night(1).full_name(AUDIT_METRICS)} CREATE TAG `published-{dt}`")
    maintain(night(1), drop_before(FIRST))
    assert ours(night(1)) == {"main", "published-2026-11-02-1", "published-2026-11-02"}


def test_dates_that_others_keep_in_a_shared_table_stay(spark: SparkSession) -> None:
    def site(name: str, number: int) -> Warehouse:
        scopes: Any = {"data": "shared_upkeep", "model": "shared_upkeep", "audit": f"upkeep_{name}"}
        return Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))

    for number, names in enumerate((("a", "b"), ("a",), ("a",))):
        row = ("items", "items.csv", number, "no id", "{}")
        site("a", number).replace(REJECTS, spark.createDataFrame([row], REJECTS.row_schema))
        for name in names:
            audit(site(name, number), float(number))
    warehouse, retention = site("a", 2), drop_before(FIRST + timedelta(days=2))
    with nights() as free:
        assert [publication.dt.day for publication in retire(warehouse, retention, free)] == [1, 2]
        maintain_table(warehouse, REJECTS, retention, free)
    lines = spark.table(warehouse.full_name(REJECTS)).orderBy("line").collect()
    assert [row["line"] for row in lines] == [0, 2]
    assert [row["line"] for row in site("b", 0).read_published(REJECTS).collect()] == [0]
    assert [row["line"] for row in run_query(warehouse, "SELECT line FROM rejects").collect()] == [2]


def test_readers_go_on_from_what_was_published_to_what_is_merged(night: NightOf) -> None:
    for number in range(6):
        audit(night(number), float(number))
    last = night(5)
    published = publications(last)[-1].snapshots["audit_metrics"]
    maintain(last, drop_before(FIRST + timedelta(days=1)))
    name = last.full_name(AUDIT_METRICS)
    main = last.references(AUDIT_METRICS)["main"]
    assert main != published
    assert last.merged_snapshot(AUDIT_METRICS, published) == main
    made = last.spark.sql(f"SELECT operation, summary['recsae-upkeep'] FROM {name}.snapshots ORDER BY committed_at")
    assert ("delete", "true") in [tuple(row) for row in made.collect()]


def test_small_files_of_a_night_become_one_and_the_rows_stay(night: NightOf) -> None:
    monday = night(0)
    rows = monday.spark.createDataFrame([(1, "sae", f"m{number}", float(number)) for number in range(8)], SCHEMA)
    monday.replace(AUDIT_METRICS, rows.repartition(8))
    publish(monday)
    before = state_of(monday, AUDIT_METRICS)
    assert before.files >= 5
    maintain(monday, keep_all())
    assert (state_of(monday, AUDIT_METRICS).files, state_of(monday, AUDIT_METRICS).manifests) == (1, 1)
    assert sorted(values(monday)) == [float(number) for number in range(8)]
    assert state_of(monday, AUDIT_METRICS).snapshots > before.snapshots  # nothing expired


DIRECTLY: list[tuple[Table, tuple[Any, ...]]] = [
    (COMPARISONS, ("films", "sasrec", "last", "sae", "fvu", 0.5)),
    (RATING_SAMPLES, ("s", 1, "c", 1, "concept", 7, 7, "war", "About war", "all", 9, 0.9, True)),
    (CONCEPT_RATINGS, ("s", 1, "c", "concept", 7, "rater", 4)),
    (RATING_METRICS, ("s", 1, "all", "concepts", "mean_relevance", 3.5)),
]


@pytest.mark.parametrize(("table", "row"), DIRECTLY, ids=lambda given: given.name if isinstance(given, Table) else "")
def test_what_is_published_directly_keeps_every_date(night: NightOf, table: Table, row: tuple[Any, ...]) -> None:
    for number in range(6):
        rows = night(number).spark.createDataFrame([row], table.versioned_row_schema)
        night(number).merge(table, rows)
    maintain_table(night(5), table, drop_before(FIRST + timedelta(days=5)), nights())
    assert sorted(kept["dt"] for kept in night(0).read_all(table).collect()) == [night(n).dt for n in range(6)]
    assert state_of(night(0), table).snapshots <= 2  # others have expired; of rows merged, or manifests


def test_refused_ratings_stay_and_their_small_files_become_one(night: NightOf) -> None:
    rows = [("file", "digest", line, "no such case", "{}") for line in range(8)]
    frame = night(0).spark.createDataFrame(rows, RATING_REJECTS.row_schema).repartition(8)
    night(0).ensure(RATING_REJECTS)
    frame.writeTo(night(0).full_name(RATING_REJECTS)).option("check-nullability", "false").append()  # as 0.2 did
    assert state_of(night(0), RATING_REJECTS).files >= 5
    maintain_table(night(9), RATING_REJECTS, drop_before(FIRST + timedelta(days=9)), nights())
    assert state_of(night(0), RATING_REJECTS).files == 1
    assert sorted(row["line"] for row in night(9).read_all(RATING_REJECTS).collect()) == list(range(8))


def test_old_files_that_no_snapshot_knows_are_removed(night: NightOf) -> None:
    audit(night(0), 0.0)
    (file,) = night(0).spark.table(f"{night(0).full_name(AUDIT_METRICS)}.files").select("file_path").collect()
    folder = Path(file["file_path"].removeprefix("file:")).parent
    old, young = folder / "old.parquet", folder / "young.parquet"
    for path in (old, young):
        path.write_bytes(b"half of a file")
    moment = (datetime.now(timezone.utc) - timedelta(days=4)).timestamp()
    os.utime(old, (moment, moment))
    maintain(night(0), keep_all())
    assert (old.exists(), young.exists()) == (False, True)
    assert values(night(0)) == [0.0]


def test_old_representations_of_free_nights_are_removed(tmp_path: Path) -> None:
    def is_free(dt: date) -> bool:
        return dt != date(2026, 11, 2)

    for dt in ("2026-11-01", "2026-11-02", "legal"):
        for place in ("version=1/site=last/rows=last", "version=2/item_embeddings"):
            for model in ("recommender-shop", "recommender-other"):
                folder = tmp_path / f"representations/model={model}" / place / f"dt={dt}"
                folder.mkdir(parents=True)
                (folder / "part-0.parquet").touch()
    removed = remove_old_sets(str(tmp_path), "recommender-shop", date(2026, 11, 3), is_free)
    assert [Path(folder).relative_to(tmp_path / "representations/model=recommender-shop") for folder in removed] == [
        Path("version=1/site=last/rows=last/dt=2026-11-01"),
        Path("version=2/item_embeddings/dt=2026-11-01"),
    ]
    assert len(list(tmp_path.rglob("*.parquet"))) == 10
    assert remove_old_sets(str(tmp_path), "recommender-shop", date(2026, 11, 3), is_free) == []
    assert remove_old_sets(str(tmp_path / "nowhere"), "recommender-shop", date(2026, 11, 3), is_free) == []
