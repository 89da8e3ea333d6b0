"""One user out of every snapshot of a table, while readers see whole audits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from recsae_lib.platform.warehouse.forgetting import (
    copy_snapshots,
    drop_history,
    move_references,
    name_copies,
    published_snapshots,
    tells_in_lists,
)
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import INTERACTIONS, LATENT_ACTIVATIONS, TABLES
from recsae_lib.platform.warehouse.tables.users import (
    ELSEWHERE_WITHOUT,
    USER_COLUMNS,
    WITHOUT_USERS,
    UserColumn,
    unclassified,
)
from recsae_lib.platform.warehouse.traces import traces
from tests.publishing import publish

FIRST = date(2026, 11, 1)
NightOf = Callable[[int], Warehouse]
ACTIVE = "sae_version int, user_id string, latent_ids array<int>, activations array<float>, fvu double, distance double"
RAW = "user_id string, item_id string, weight double, ts timestamp, source_order bigint"
BOTH = (INTERACTIONS, LATENT_ACTIVATIONS)


@pytest.fixture
def night(spark: SparkSession, request: pytest.FixtureRequest) -> NightOf:
    namespace = "forgetting_" + str(abs(hash(request.node.name)))
    scopes = {"data": namespace, "model": namespace, "audit": namespace}
    return lambda number: Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))


def write(warehouse: Warehouse, users: list[str]) -> None:
    spark = warehouse.spark
    active = [(1, user, [3], [0.5], None, None) for user in users]
    raw = [(user, "i", 1.0, datetime(2026, 11, 1), 0) for user in users]
    warehouse.replace(LATENT_ACTIVATIONS, spark.createDataFrame(active, ACTIVE))
    warehouse.replace(INTERACTIONS, spark.createDataFrame(raw, RAW))


def seen(warehouse: Warehouse, as_of: date | None = None) -> list[str]:
    query = "SELECT concat(day(dt), a.user_id, b.user_id) AS both FROM latent_activations a FULL JOIN interactions b "
    rows = run_query(warehouse, query + "ON a.user_id = b.user_id ORDER BY 1", as_of=as_of).collect()
    return [row["both"] for row in rows if row["both"] is not None]


def left(warehouse: Warehouse, user: str) -> int:
    columns = [(table, USER_COLUMNS[table.name]) for table in BOTH]
    of_lists = sum(tells_in_lists(warehouse, table, column, user, None) for table, column in columns)
    return of_lists + sum(trace.rows for t, column in columns for trace in traces(warehouse, t, column, user))


def test_a_user_leaves_every_snapshot_at_any_stop(night: NightOf) -> None:
    for number, users in enumerate((["a", "b", "c"], ["a", "b"])):
        write(night(number), users)
        publish(night(number))
    write(night(2), ["a", "c"])  # not published yet
    warehouse = night(1)
    name = warehouse.full_name(INTERACTIONS)
    first = warehouse.references(INTERACTIONS)[f"published-{warehouse.namespaces['audit']}-2026-11-01-1"]
    warehouse.spark.sql(f"ALTER TABLE {name} CREATE TAG `of people` AS OF VERSION {first}")
    before = ["1aa", "1bb", "2aa", "2bb"]
    assert seen(warehouse) == before
    assert left(warehouse, "a") > 0

    def copies() -> dict[tuple[str, int], int]:
        named = published_snapshots([warehouse])
        erased = [copy_snapshots(warehouse, table, USER_COLUMNS[table.name], "a", named) for table in BOTH]
        return erased[0].copies | erased[1].copies

    # Each of these steps is as far as a run came that was killed; the next begins anew.
    copied = copies()
    assert seen(warehouse) == before
    assert copies() == copied  # nothing is copied twice
    assert name_copies(warehouse, copied) == 2
    assert seen(warehouse) == ["1bb", "2bb"]
    assert copies() == copied
    assert name_copies(warehouse, copied) == 0
    for table in BOTH:
        move_references(warehouse, table)
        assert seen(warehouse) == ["1bb", "2bb"]
        drop_history(warehouse, table, published_snapshots([warehouse]))
    assert seen(warehouse) == ["1bb", "2bb"]
    assert seen(warehouse, FIRST) == ["1bb", "1cc"]
    assert left(warehouse, "a") == 0
    of_people = warehouse.spark.read.option("tag", "of people").table(name)
    assert sorted(row["user_id"] for row in of_people.collect()) == ["b", "c"]
    assert copies() == {}  # there is nothing to do
    publish(night(2))
    assert seen(warehouse) == ["1cc", "3cc"]


def test_every_column_of_text_is_classified() -> None:
    for table in TABLES.values():
        assert unclassified(table, table.schema) == [], table.name
    with_users = {(name, column.name) for name, column in USER_COLUMNS.items()}
    declared = {(table.name, column) for table in TABLES.values() for column in table.schema.names}
    assert with_users <= declared
    assert declared >= ELSEWHERE_WITHOUT
    assert not {column for _, column in with_users} & WITHOUT_USERS
    assert not [pair for pair in declared - with_users if pair[1] == "user_id"]
    added = T.StructType([*INTERACTIONS.schema.fields, T.StructField("guest", T.ArrayType(T.StringType()))])
    assert unclassified(INTERACTIONS, added) == ["guest"]


@pytest.mark.parametrize(
    ("column", "records", "rows"),
    [
        (UserColumn("record", as_word=True), ["u.1,i,5", "u11,i", "(u.1)", "u.12", "au.1", None], 2),
        (UserColumn("record", only=("kind", "user")), ["u.1", "u.1", "u.1 ", None], 1),
    ],
)
def test_rows_are_found_alike_by_spark_and_in_files(
    spark: SparkSession, column: UserColumn, records: list[str | None], rows: int
) -> None:
    given = [(record, "user" if place % 2 == 0 else "item") for place, record in enumerate(records)]
    table = spark.createDataFrame(given, "record string, kind string")
    assert table.where(column.is_of("u.1")).count() == rows
    batch = pa.RecordBatch.from_pylist([{"record": record, "kind": kind} for record, kind in given])
    assert column.count_in(batch.select(column.names), "u.1") == rows
