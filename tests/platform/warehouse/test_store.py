from __future__ import annotations

from datetime import date

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, CONCEPT_TERMS, ITEMS, TABLES, Table
from tests.publishing import publish

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


@pytest.fixture
def namespace(spark: SparkSession, request: pytest.FixtureRequest) -> str:
    return "store_" + str(abs(hash(request.node.name)))


def warehouse_of(spark: SparkSession, namespace: str, dt: date) -> Warehouse:
    return Warehouse(spark, "recsae", {"data": namespace, "model": namespace, "audit": namespace}, dt)


def metrics(spark: SparkSession, value: float | None, metric: str = "fvu"):
    schema = "sae_version int, unit_kind string, metric string, value double"
    return spark.createDataFrame([(1, "sae", metric, value)], schema)


def published(warehouse: Warehouse) -> list[tuple[str, float]]:
    name = warehouse.full_name(AUDIT_METRICS)
    return sorted((str(row.dt), row.value) for row in warehouse.spark.table(name).collect())


def test_rows_are_visible_on_main_only_after_publication(spark: SparkSession, namespace: str) -> None:
    monday = warehouse_of(spark, namespace, MONDAY)
    assert monday.replace(AUDIT_METRICS, metrics(spark, 0.25)) == 1
    assert published(monday) == []
    publish(monday)
    assert published(monday) == [("2026-11-23", 0.25)]
    assert set(monday.references(AUDIT_METRICS)) == {"main", f"published-{namespace}-2026-11-23-1"}


def test_a_second_run_replaces_the_partition_even_with_no_rows(spark: SparkSession, namespace: str) -> None:
    monday = warehouse_of(spark, namespace, MONDAY)
    monday.replace(AUDIT_METRICS, metrics(spark, 0.25))
    monday.replace(AUDIT_METRICS, metrics(spark, 0.5))
    assert [row.value for row in monday.read(AUDIT_METRICS).collect()] == [0.5]
    assert monday.replace(AUDIT_METRICS, metrics(spark, 0.5).limit(0)) == 0
    with pytest.raises(InputError, match="has no rows for dt=2026-11-23"):
        monday.read_filled(AUDIT_METRICS)


def test_two_dates_under_way_at_once_are_both_published(spark: SparkSession, namespace: str) -> None:
    monday, tuesday = (warehouse_of(spark, namespace, dt) for dt in (MONDAY, TUESDAY))
    monday.replace(AUDIT_METRICS, metrics(spark, 1.0))
    tuesday.replace(AUDIT_METRICS, metrics(spark, 2.0))
    for warehouse in (tuesday, monday):
        publish(warehouse)
    assert published(monday) == [("2026-11-23", 1.0), ("2026-11-24", 2.0)]


@pytest.mark.parametrize("drops", [False, True])
def test_a_branch_changed_by_another_process_is_looked_up_again(
    spark: SparkSession, namespace: str, monkeypatch: pytest.MonkeyPatch, drops: bool
) -> None:
    monday = warehouse_of(spark, namespace, MONDAY)
    monday.replace(AUDIT_METRICS, metrics(spark, 1.0))
    if drops:
        monday.drop_branch(AUDIT_METRICS)
    outdated = iter([{monday.branch: 1} if drops else {}])

    def references(warehouse: Warehouse, table: Table, original=Warehouse.references) -> dict[str, int]:
        return next(outdated, original(warehouse, table))

    monkeypatch.setattr(Warehouse, "references", references)
    if drops:
        monday.drop_branch(AUDIT_METRICS)
        assert monday.references(AUDIT_METRICS) == {}
    else:
        assert monday.replace(AUDIT_METRICS, metrics(spark, 2.0)) == 1
        assert [row.value for row in monday.read(AUDIT_METRICS).collect()] == [2.0]


def test_all_discrepancies_are_reported_at_once(spark: SparkSession, namespace: str) -> None:
    wrong = metrics(spark, 1.0).select(F.col("sae_version").cast("string"), "unit_kind", F.lit(1).alias("extra"))
    with pytest.raises(InputError) as refusal:
        warehouse_of(spark, namespace, MONDAY).replace(AUDIT_METRICS, wrong)
    for part in (
        "column metric is missing",
        "column value is missing",
        "column extra is not declared",
        "column sae_version is string, declared int",
    ):
        assert part in str(refusal.value)


def test_a_forbidden_null_stops_the_write_and_adds_no_partition(spark: SparkSession, namespace: str) -> None:
    warehouse = warehouse_of(spark, namespace, MONDAY)
    assert warehouse.replace(AUDIT_METRICS, metrics(spark, None)) == 1  # value may be null
    with pytest.raises(Exception, match="Column metric of table audit_metrics would hold a null"):
        warehouse.replace(AUDIT_METRICS, metrics(spark, 3.0, metric=None))
    assert [row.value for row in warehouse.read(AUDIT_METRICS).collect()] == [None]
    items = spark.createDataFrame(
        [("a", "", "", ["x", None], None)],
        "item_id string, title string, text string, features array<string>, derived_features array<string>",
    )
    with pytest.raises(Exception, match="Column features of table items would hold a null"):
        warehouse.replace(ITEMS, items)


def test_reading_what_was_never_written_names_the_job_to_run(spark: SparkSession, namespace: str) -> None:
    with pytest.raises(InputError, match="compute_concept_terms"):
        warehouse_of(spark, namespace, MONDAY).read(CONCEPT_TERMS)


def test_every_table_is_created_as_declared(spark: SparkSession, namespace: str) -> None:
    warehouse = warehouse_of(spark, namespace, MONDAY)
    for table in TABLES.values():
        warehouse.ensure(table)
        described = {row.col_name: row for row in spark.sql(f"DESCRIBE {warehouse.full_name(table)}").collect()}
        for field in table.schema.fields:
            assert described[field.name].data_type == field.dataType.simpleString(), (table.name, field.name)
            assert described[field.name].comment == field.metadata["comment"]
        assert ("# Partitioning" in described or "# Partition Information" in described) == table.partitioned_by_date
        found = spark.table(warehouse.full_name(table)).schema
        assert [field.nullable for field in found] == [field.nullable for field in table.schema], table.name


def test_each_scope_has_its_namespace_and_models_share_data(spark: SparkSession, namespace: str) -> None:
    scopes = [{"data": namespace, "model": f"{namespace}__{name}", "audit": f"{namespace}__{name}"} for name in "ab"]
    first, second = (Warehouse(spark, "recsae", scope, MONDAY) for scope in scopes)
    item = spark.createDataFrame([("i", "title", "text", ["f"], ["popularity: high"])], ITEMS.schema)
    first.replace(ITEMS, item)
    first.replace(AUDIT_METRICS, metrics(spark, 1.0))
    assert second.read(ITEMS).count() == 1
    assert not second.exists(AUDIT_METRICS)
    assert first.full_name(AUDIT_METRICS) == f"recsae.{namespace}__a.audit_metrics"
    for warehouse in (first, second):  # the second finds what the first has published, or nothing
        publish(warehouse)
    assert second.read_published(ITEMS).count() == 1
