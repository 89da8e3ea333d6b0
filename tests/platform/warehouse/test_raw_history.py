from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.platform.warehouse import raw_history
from recsae_lib.platform.warehouse.raw_history import differences, same_rows
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import INTERACTIONS, ITEMS, Table
from tests.publishing import publish

FIRST = date(2026, 11, 1)
Interaction = tuple[str, str, float, datetime, int]
NightOf = Callable[[int], Warehouse]


@pytest.fixture
def night(spark: SparkSession, request: pytest.FixtureRequest) -> NightOf:
    namespace = "raw_" + str(abs(hash(request.node.name)))
    scopes = {"data": namespace, "model": namespace, "audit": namespace}
    return lambda number: Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))


def interaction(user: int, number: int) -> Interaction:
    return (f"u{user}", f"i{number}", 1.0, datetime(2026, 1, 1) + timedelta(hours=number), number)


def interactions(*users: int) -> list[Interaction]:
    return [interaction(user, number) for user in users for number in range(6)]


def frame(spark: SparkSession, rows: list[Interaction]) -> DataFrame:
    return spark.createDataFrame(rows, INTERACTIONS.schema)


def write(warehouse: Warehouse, rows: list[Interaction]) -> int:
    return warehouse.replace(INTERACTIONS, frame(warehouse.spark, rows))


def content(warehouse: Warehouse) -> Counter[Any]:
    return Counter(tuple(row) for row in warehouse.read(INTERACTIONS).collect())


def files(warehouse: Warehouse, table: Table = INTERACTIONS) -> set[str]:
    head = warehouse.references(table)[warehouse.branch]
    found = warehouse.spark.sql(f"SELECT file_path FROM {warehouse.full_name(table)}.files VERSION AS OF {head}")
    return {row["file_path"] for row in found.collect()}


def bytes_on_disk(warehouse: Warehouse, table: Table = INTERACTIONS) -> int:
    folder = warehouse.iceberg(table).location().removeprefix("file:")
    return sum(path.stat().st_size for path in Path(folder).glob("data/**/*.parquet"))


def snapshots(warehouse: Warehouse, table: Table = INTERACTIONS) -> int:
    return warehouse.spark.table(f"{warehouse.full_name(table)}.snapshots").count()


def test_six_nights_without_news_keep_one_copy(night: NightOf) -> None:
    rows = interactions(*range(40))
    items = [(f"i{number}", "title", "text", ["war", "war"], ["city: X"]) for number in range(6)]
    sizes = []
    for number in range(6):
        assert write(night(number), rows[::-1] if number % 2 else rows) == 240
        assert night(number).replace(ITEMS, night(0).spark.createDataFrame(items, ITEMS.schema)) == 6
        assert content(night(number)) == Counter(rows)  # on the branch, before it is published
        assert publish(night(number)).dt == night(number).dt
        sizes.append([(bytes_on_disk(night(0), table), snapshots(night(0), table)) for table in (INTERACTIONS, ITEMS)])
    assert sizes == [sizes[0]] * 6
    assert [count for _, count in sizes[0]] == [2, 2]  # the branch began with an empty one
    for number in range(6):
        assert Counter(tuple(row) for row in night(number).read_published(INTERACTIONS).collect()) == Counter(rows)


ROWS = st.builds(
    lambda user, number, weight: (*interaction(user, number)[:2], weight, *interaction(user, number)[3:]),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from([0.0, 1.0]),
)
CHANGES = st.lists(
    st.tuples(st.lists(ROWS, max_size=3), st.lists(st.integers(0, 40), max_size=3)), min_size=1, max_size=4
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.lists(ROWS, min_size=4, max_size=16), changes=CHANGES)
def test_any_change_leaves_what_an_overwrite_would(night: NightOf, start: list[Any], changes: list[Any]) -> None:
    monday = night(0)
    monday.drop_branch(INTERACTIONS)
    rows = list(start)
    assert write(monday, rows) == len(rows)
    for added, removed in changes:
        rows = [row for place, row in enumerate(rows) if place not in removed] + added
        before, was = monday.references(INTERACTIONS)[monday.branch], content(monday)
        assert write(monday, rows) == len(rows)
        assert content(monday) == Counter(rows)
        head = monday.iceberg(INTERACTIONS).snapshot(monday.branch)
        came_from = head.snapshotId() if was == Counter(rows) else head.parentId()
        assert came_from == before  # one commit, or none


def test_added_rows_come_in_new_files_and_no_other_changes(night: NightOf) -> None:
    write(night(0), interactions(*range(30)))
    publish(night(0))
    before = files(night(0))
    more = [interaction(user, 7) for user in range(0, 30, 10)]
    assert write(night(1), [*interactions(*range(30)), *more]) == 183
    assert len(files(night(1))) == 2
    assert before < files(night(1))
    summary = night(1).iceberg(INTERACTIONS).snapshot(night(1).branch).summary()
    assert (summary["added-records"], summary.get("deleted-data-files")) == ("3", None)
    assert summary["recsae-audit"] == "audit-2026-11-02"


def test_only_files_that_held_removed_rows_are_written_anew(night: NightOf) -> None:
    users = list(range(12))
    for number in range(3):  # a file each
        write(night(0), interactions(*users[: 4 + 4 * number]))
    first = files(night(0))
    assert len(first) == 3
    rows = [row for row in interactions(*users) if row != interaction(5, 3)]
    write(night(0), rows)
    assert content(night(0)) == Counter(rows)
    assert (len(first - files(night(0))), len(files(night(0)) - first)) == (1, 1)
    (new,) = files(night(0)) - first
    found = night(0).spark.read.parquet(new).select("user_id").distinct().collect()
    assert {row["user_id"] for row in found} == {"u4", "u5", "u6", "u7"}


def test_one_of_equal_rows_goes_and_the_others_stay(night: NightOf) -> None:
    twice = interaction(1, 1)
    write(night(0), [twice] * 3 + interactions(2, 3))
    assert write(night(0), [twice] * 2 + interactions(2, 3)) == 14
    assert content(night(0))[twice] == 2
    assert write(night(0), interactions(2, 3)) == 12
    assert twice not in content(night(0))


def test_a_file_whose_rows_all_go_leaves_without_another(night: NightOf) -> None:
    write(night(0), interactions(*range(8)))
    (base,) = files(night(0))
    write(night(0), interactions(*range(9)))
    write(night(0), interactions(*range(8)))
    assert files(night(0)) == {base}


def test_where_most_rows_go_all_are_written_as_one_set(night: NightOf) -> None:
    write(night(0), interactions(*range(8)))
    before = files(night(0))
    assert write(night(0), interactions(7, 8, 9)) == 18
    assert content(night(0)) == Counter(interactions(7, 8, 9))
    assert not before & files(night(0))
    assert write(night(0), []) == 0
    assert content(night(0)) == Counter()


def test_a_kill_before_the_commit_leaves_all_as_it_was(night: NightOf, monkeypatch: pytest.MonkeyPatch) -> None:
    write(night(0), interactions(*range(8)))
    rows = [*interactions(*range(1, 8)), interaction(9, 9)]

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(raw_history._Branch, "commit", killed)
        with pytest.raises(Killed):
            write(night(0), rows)
    assert content(night(0)) == Counter(interactions(*range(8)))
    for _ in range(2):
        assert write(night(0), rows) == 43
        assert content(night(0)) == Counter(rows)
    assert snapshots(night(0)) == 3  # the branch began with an empty one


def test_what_came_in_between_is_compared_with_too(night: NightOf, monkeypatch: pytest.MonkeyPatch) -> None:
    write(night(0), interactions(*range(8)))
    commit, between = raw_history._Branch.commit, iter([interaction(3, 99)])

    def late(branch: Any, *arguments: Any) -> None:
        for row in between:
            name = f"{night(0).full_name(INTERACTIONS)}.`branch_{night(0).branch}`"
            frame(night(0).spark, [row]).writeTo(name).append()
        commit(branch, *arguments)

    monkeypatch.setattr(raw_history._Branch, "commit", late)
    rows = [*interactions(*range(8)), interaction(8, 8)]
    assert write(night(0), rows) == 49
    assert content(night(0)) == Counter(rows)


def test_a_table_of_an_earlier_release_goes_on(night: NightOf) -> None:
    monday = night(0)
    monday.ensure(INTERACTIONS)
    frame(monday.spark, interactions(*range(20))).repartition(4).writeTo(monday.full_name(INTERACTIONS)).append()
    assert write(monday, [*interactions(*range(20)), interaction(20, 1)]) == 121
    assert len(files(monday)) == 5
    assert content(monday) == Counter([*interactions(*range(20)), interaction(20, 1)])


def test_a_published_date_that_runs_again_starts_from_its_own(night: NightOf) -> None:
    for number in (0, 1):
        write(night(number), interactions(*range(10 + number)))
        publish(night(number))
    count = snapshots(night(0))
    night(0).drop_branch(INTERACTIONS)
    assert write(night(0), interactions(*range(10))) == 60
    assert snapshots(night(0)) == count
    assert publish(night(0)).number == 3
    assert Counter(tuple(row) for row in night(0).read_published(INTERACTIONS).collect()) == Counter(
        interactions(*range(10))
    )


def test_comparing_shuffles_once_and_a_look_not_at_all(spark: SparkSession, night: NightOf) -> None:
    write(night(0), interactions(*range(10)))
    before, after = night(0).read(INTERACTIONS), frame(spark, interactions(*range(12)))
    plan = differences(before, after)._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange") == 1
    assert not same_rows(before, after)
    assert same_rows(before, frame(spark, interactions(*range(10))[::-1]))
    assert not same_rows(before, before.unionByName(before.limit(1)))
    assert not same_rows(before.limit(0), before.limit(1))
