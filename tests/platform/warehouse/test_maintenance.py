from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_jobs import maintain_tables
from recsae_lib.platform.warehouse.maintenance import Retention, expired_references, maintain_table, state_of
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import (
    AUDIT_METRICS,
    AUDITS,
    COMPARISONS,
    CONCEPT_RATINGS,
    RATING_METRICS,
    RATING_REJECTS,
    RATING_SAMPLES,
    Table,
)
from recsae_lib.representations.layout import remove_old_sets
from tests.workspace import open_workspace

FIRST = date(2026, 11, 1)
SCHEMA = "sae_version int, unit_kind string, metric string, value double"
NightOf = Callable[[int], Warehouse]


@pytest.fixture
def night(spark: SparkSession, request: pytest.FixtureRequest) -> NightOf:
    namespace = "maintained_" + str(abs(hash(request.node.name)))
    scopes = {"data": namespace, "model": namespace, "audit": namespace}
    return lambda number: Warehouse(spark, "recsae", scopes, FIRST + timedelta(days=number))


def publish(warehouse: Warehouse, value: float) -> None:
    warehouse.replace(AUDIT_METRICS, warehouse.spark.createDataFrame([(1, "sae", "fvu", value)], SCHEMA))
    warehouse.publish(AUDIT_METRICS)
    warehouse.drop_branch(AUDIT_METRICS)


def keep_all() -> Retention:
    return Retention(date(2000, 1, 1), datetime(2000, 1, 1, tzinfo=timezone.utc))


def drop_before(dt: date) -> Retention:
    return Retention(dt, datetime.now(timezone.utc) + timedelta(seconds=2))  # commits of this second are older


def values(warehouse: Warehouse) -> list[float]:
    rows = warehouse.spark.table(warehouse.full_name(AUDIT_METRICS)).collect()
    return [row["value"] for row in sorted(rows, key=lambda row: row["dt"])]


def test_references_of_old_nights_expire_but_not_those_of_people() -> None:
    names = ["main", "audit-2026-10-31", "published-2026-10-31", "published-2026-11-01", "before-2026-10-01", "audit-x"]
    assert expired_references(names, FIRST) == ["audit-2026-10-31", "published-2026-10-31"]


def test_retention_counts_the_date_itself() -> None:
    retention = Retention.until(date(2026, 11, 20), keep_nights=3, keep_snapshot_days=7)
    assert retention.first_night == date(2026, 11, 18)
    assert timedelta(days=6, hours=23) < datetime.now(timezone.utc) - retention.first_snapshot < timedelta(days=7.1)


def test_nights_past_their_retention_leave_with_their_snapshots(night: NightOf) -> None:
    for number in range(5):
        publish(night(number), float(number))
    table = night(0).full_name(AUDIT_METRICS)
    second = night(0).references(AUDIT_METRICS)["published-2026-11-02"]
    night(0).spark.sql(f"ALTER TABLE {table} CREATE TAG `quarter` AS OF VERSION {second}")
    night(1).replace(AUDIT_METRICS, night(1).read(AUDIT_METRICS).drop("dt"))  # an audit of 2 November under way
    for _ in range(2):  # again changes nothing
        maintain_table(night(4), AUDIT_METRICS, drop_before(FIRST + timedelta(days=3)))
        assert values(night(4)) == [3.0, 4.0]
        assert set(night(4).references(AUDIT_METRICS)) == {
            "main",
            "quarter",
            "published-2026-11-04",
            "published-2026-11-05",
        }
    kept = night(4).spark.read.option("tag", "quarter").table(table).orderBy("dt").collect()
    assert [row["value"] for row in kept] == [0.0, 1.0]
    assert state_of(night(4), AUDIT_METRICS).snapshots <= 5  # main and what it rewrote, three tags
    publish(night(5), 5.0)
    assert values(night(5)) == [3.0, 4.0, 5.0]


def test_small_files_of_a_night_become_one_and_the_rows_stay(night: NightOf) -> None:
    monday = night(0)
    rows = monday.spark.createDataFrame([(1, "sae", f"m{number}", float(number)) for number in range(8)], SCHEMA)
    monday.replace(AUDIT_METRICS, rows.repartition(8))
    monday.publish(AUDIT_METRICS)
    monday.drop_branch(AUDIT_METRICS)
    before = state_of(monday, AUDIT_METRICS)
    assert before.files >= 5
    maintain_table(monday, AUDIT_METRICS, keep_all())
    assert (state_of(monday, AUDIT_METRICS).files, state_of(monday, AUDIT_METRICS).manifests) == (1, 1)
    assert sorted(values(monday)) == [float(number) for number in range(8)]
    assert state_of(monday, AUDIT_METRICS).snapshots > before.snapshots  # nothing expired


NOW = datetime.now(timezone.utc)
DIRECTLY: list[tuple[Table, tuple[Any, ...]]] = [
    (AUDITS, (1, 1, "published", NOW, NOW, "digest", "code")),
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
    maintain_table(night(5), table, drop_before(FIRST + timedelta(days=5)))
    assert sorted(kept["dt"] for kept in night(0).read_all(table).collect()) == [night(n).dt for n in range(6)]
    assert state_of(night(0), table).snapshots <= 2  # others have expired; of rows merged, or manifests


def test_refused_ratings_stay_and_their_small_files_become_one(night: NightOf) -> None:
    rows = [("file", "digest", line, "no such case", "{}") for line in range(8)]
    frame = night(0).spark.createDataFrame(rows, RATING_REJECTS.row_schema).repartition(8)
    night(0).merge(RATING_REJECTS, frame)
    assert state_of(night(0), RATING_REJECTS).files >= 5
    maintain_table(night(9), RATING_REJECTS, drop_before(FIRST + timedelta(days=9)))
    assert state_of(night(0), RATING_REJECTS).files == 1
    assert sorted(row["line"] for row in night(9).read_all(RATING_REJECTS).collect()) == list(range(8))


def test_old_files_that_no_snapshot_knows_are_removed(night: NightOf) -> None:
    publish(night(0), 0.0)
    (file,) = night(0).spark.table(f"{night(0).full_name(AUDIT_METRICS)}.files").select("file_path").collect()
    folder = Path(file["file_path"].removeprefix("file:")).parent
    old, young = folder / "old.parquet", folder / "young.parquet"
    for path in (old, young):
        path.write_bytes(b"half of a file")
    moment = (datetime.now(timezone.utc) - timedelta(days=4)).timestamp()
    os.utime(old, (moment, moment))
    maintain_table(night(0), AUDIT_METRICS, keep_all())
    assert (old.exists(), young.exists()) == (False, True)
    assert values(night(0)) == [0.0]


def test_old_representations_are_removed_by_date(tmp_path: Path) -> None:
    for dt in ("2026-11-01", "2026-11-02"):
        for place in ("version=1/site=last/rows=last", "version=2/item_embeddings"):
            for model in ("recommender-shop", "recommender-other"):
                folder = tmp_path / f"representations/model={model}" / place / f"dt={dt}"
                folder.mkdir(parents=True)
                (folder / "part-0.parquet").touch()
    removed = remove_old_sets(str(tmp_path), "recommender-shop", date(2026, 11, 2))
    assert [Path(folder).relative_to(tmp_path / "representations/model=recommender-shop") for folder in removed] == [
        Path("version=1/site=last/rows=last/dt=2026-11-01"),
        Path("version=2/item_embeddings/dt=2026-11-01"),
    ]
    assert len(list(tmp_path.rglob("*.parquet"))) == 6
    assert remove_old_sets(str(tmp_path), "recommender-shop", date(2026, 11, 2)) == []
    assert remove_old_sets(str(tmp_path / "nowhere"), "recommender-shop", date(2026, 11, 2)) == []


def test_the_job_maintains_what_is_there(spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    workspace = open_workspace(spark, tmp_path / "maintained", "maintained")
    maintain_tables.run(workspace.context("maintain_tables"))
    assert "0 folders of representations" in caplog.text  # and no table
    context = workspace.context("maintain_tables", "maintenance.keep_nights=1", dt=FIRST + timedelta(days=1))
    for number in range(2):
        publish(workspace.warehouse(FIRST + timedelta(days=number)), float(number))
    maintain_tables.run(context)
    assert values(context.warehouse) == [1.0]
    assert "maintained.planted.audit_metrics: files 2 to 1" in caplog.text


def test_the_job_maintains_the_comparisons_of_a_study(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    workspace = open_workspace(spark, tmp_path / "compared", "compared")
    study = Warehouse(spark, "compared", {"data": "paper"}, FIRST)
    study.merge(COMPARISONS, spark.createDataFrame([DIRECTLY[1][1]], COMPARISONS.row_schema))
    maintain_tables.run(workspace.context("maintain_tables", "namespace=paper"))
    assert "compared.paper.comparisons: files 1 to 1" in caplog.text
