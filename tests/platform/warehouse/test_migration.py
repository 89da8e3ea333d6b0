"""A warehouse of the version before: what its declarations and jobs wrote, word for word."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.migration import migrate_table, migrate_tables, require_migrated
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables.declaration import FLOAT, INT, column
from tests.catalogs import SQLITE_DRIVER, declare
from tests.publishing import publish
from tests.workspace import open_workspace

FIRST, SECOND, THIRD, FOURTH = (date(2026, 11, day) for day in (20, 21, 22, 23))
OPTIONS = "USING iceberg PARTITIONED BY (dt) TBLPROPERTIES ('format-version'='2', 'write.distribution-mode'='none')"
OLD = {
    "audit_metrics": "dt date NOT NULL, sae_version int NOT NULL, unit_kind string NOT NULL, metric string NOT NULL, "
    "value double",
    "concept_coverage": "dt date NOT NULL, sae_version int NOT NULL, unit_kind string NOT NULL, min_confidence double "
    "NOT NULL, feature_coverage double NOT NULL, item_coverage double NOT NULL, user_coverage double NOT NULL, "
    "shuffled_feature_coverage double NOT NULL, units bigint NOT NULL, units_expected_by_chance double NOT NULL",
    "comparisons": "dt date NOT NULL, data_set string NOT NULL, model string NOT NULL, site string NOT NULL, unit_kind "
    "string NOT NULL, metric string NOT NULL, value double",
    "concept_labels": "dt date NOT NULL, sae_version int NOT NULL, latent_id int NOT NULL, label string NOT NULL, "
    "description string NOT NULL, features array<string> NOT NULL, interpreter string NOT NULL, llm_model string, "
    "prompt_version string, request_id string, status string NOT NULL",
    "concepts": "dt date NOT NULL, sae_version int NOT NULL, latent_id int NOT NULL, label string NOT NULL, "
    "description string NOT NULL, features array<string> NOT NULL, interpreter string NOT NULL, status "
    "string NOT NULL, judge string, confidence double, confidence_low double, confidence_high double, "
    "q_value double, interpretable boolean NOT NULL, best_feature string, best_feature_auc double, "
    "active_users bigint NOT NULL, density double NOT NULL, mean_activation double NOT NULL",
    # Of an even earlier version, which did not keep the answer.
    "concept_rejects": "dt date NOT NULL, sae_version int NOT NULL, latent_id int NOT NULL, request_id string NOT "
    "NULL, reason string NOT NULL",
    # A row a night, whether it was published or not.
    "audits": "dt date NOT NULL, model_version int NOT NULL, sae_version int NOT NULL, status string NOT NULL, "
    "started_at timestamp NOT NULL, finished_at timestamp NOT NULL, config_digest string NOT NULL, code_version string "
    "NOT NULL",
}
METRICS = ["({dt}, 1, 'sae', 'fvu', 0.25D)", "({dt}, 1, 'init', 'live_units', 8.0D)"]
ROWS = {
    "audit_metrics": METRICS,
    "concept_coverage": ["({dt}, 1, 'init', 0.8D, 0.1D, 0.2D, 0.3D, 0.05D, 4L, 0.5D)"],
    "concept_labels": ["({dt}, 1, 7, 'war', 'About war', array('war'), 'openai', 'a model', 'p', 'r', 'labelled')"],
    "concepts": [
        "({dt}, 1, 7, 'war', 'About war', array('war'), 'openai', 'labelled', 'terms', 0.9D, 0.8D, 1.0D, 0.01D, true, "
        "'war', 0.9D, 5L, 0.1D, 1.0D)",
        "({dt}, 1, 8, 'love', '', array(), 'terms', 'labelled', null, null, null, null, null, false, null, null, 2L, "
        "0.1D, 1.0D)",
    ],
    "concept_rejects": ["({dt}, 1, 9, 'r', 'no JSON')"],
}
ROW_OF_AUDIT = "(DATE '{dt}', 1, 1, '{status}', TIMESTAMP '{dt} 01:00', TIMESTAMP '{dt} 02:00', 'digest', 'code')"


@pytest.fixture(scope="module", params=["hadoop", "jdbc on SQLite"])
def catalog(spark: SparkSession, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("catalog")
    common = {"warehouse": str(folder / "warehouse"), "cache_enabled": "false"}
    if request.param == "hadoop":
        return declare(spark, "old_folder", type="hadoop", **common)
    if not SQLITE_DRIVER.is_file():
        pytest.skip(f"needs {SQLITE_DRIVER}")
    uri = f"jdbc:sqlite:{folder}/catalog.db"
    return declare(spark, "old_sqlite", type="jdbc", uri=uri, **{**common, "jdbc.schema-version": "V1"})


def create_old(spark: SparkSession, catalog: str, namespace: str, *names: str) -> None:
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {catalog}.{namespace}")
    for name in names:
        spark.sql(f"CREATE TABLE {catalog}.{namespace}.{name} ({OLD[name]}) {OPTIONS}")


def audit_old(spark: SparkSession, catalog: str, table: str, dt: date, publish: bool = True) -> None:
    """Write the rows of one date to the branch of its audit; main, tag and branch as a publication leaves them."""
    name, branch = f"{catalog}.{table}", f"audit-{dt}"
    rows = ", ".join(ROWS[table.partition(".")[2]]).format(dt=f"DATE '{dt}'")
    spark.sql(f"ALTER TABLE {name} CREATE BRANCH `{branch}`")
    spark.sql(f"INSERT INTO {name}.`branch_{branch}` VALUES {rows}")
    if publish:
        spark.sql(f"CALL {catalog}.system.fast_forward('{table}', 'main', '{branch}')")
        spark.sql(f"ALTER TABLE {name} CREATE TAG `published-{dt}`")
        spark.sql(f"ALTER TABLE {name} DROP BRANCH `{branch}`")


@pytest.fixture
def old(spark: SparkSession, catalog: str, request: pytest.FixtureRequest) -> Warehouse:
    """Two published nights, and a third one that a check refused: its rows are on its branch."""
    namespace = f"old_{abs(hash(request.node.name))}"
    create_old(spark, catalog, namespace, *OLD)
    for name in ROWS:
        for dt in (FIRST, SECOND):
            audit_old(spark, catalog, f"{namespace}.{name}", dt)
    for name in ("audit_metrics", "concept_labels"):
        audit_old(spark, catalog, f"{namespace}.{name}", THIRD, publish=False)
    for dt, status in ((FIRST, "published"), (SECOND, "published"), (THIRD, "failed")):
        row = ROW_OF_AUDIT.format(dt=dt, status=status)
        spark.sql(f"INSERT INTO {catalog}.{namespace}.audits VALUES {row}")
    comparison = f"(DATE '{SECOND}', 'films', 'sasrec', 'last', 'init', 'live_units', 8.0D)"
    spark.sql(f"INSERT INTO {catalog}.{namespace}.comparisons VALUES {comparison}")
    return Warehouse(spark, catalog, dict.fromkeys(("data", "model", "audit"), namespace), SECOND)


def on_main(warehouse: Warehouse, table: tables.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Distinct values on main as SQL clients and other engines see them."""
    found = warehouse.spark.table(warehouse.full_name(table)).select(*columns).distinct().collect()
    return sorted(tuple(row) for row in found)


def as_of(warehouse: Warehouse, query: str, dt: date | None = FIRST) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in run_query(warehouse, query, as_of=dt).collect()]


def metric(warehouse: Warehouse, value: float) -> Any:
    return warehouse.spark.createDataFrame([(1, "sae", "fvu", value)], tables.AUDIT_METRICS.versioned_row_schema)


def reject(warehouse: Warehouse) -> Any:
    rows = [(1, 3, "r", "late", "{}")]
    return warehouse.spark.createDataFrame(rows, tables.CONCEPT_REJECTS.versioned_row_schema)


def test_an_old_warehouse_is_refused_until_it_is_migrated(old: Warehouse) -> None:
    for write in (old.replace, old.merge):
        with pytest.raises(InputError, match=r"earlier version of recsae: \S+audit_metrics\. Run `recsae migrate`"):
            write(tables.AUDIT_METRICS, metric(old, 0.5))
    with pytest.raises(InputError, match=r"earlier version of recsae: \S+audits\. Run `recsae migrate`"):
        as_of(old, "SELECT unit_kind FROM audit_metrics")
    with pytest.raises(InputError) as refusal:
        require_migrated([old])
    named = {name for name in tables.TABLES if f".{name}," in str(refusal.value) or f".{name}. " in str(refusal.value)}
    assert named == set(OLD) - {"concept_rejects"}  # which only lacks a column
    # On its branch the rows of a night are of today's form.
    assert [row["interpreter"] for row in old.at(THIRD).read(tables.CONCEPT_LABELS).collect()] == ["llm"]


def test_a_night_begins_by_adding_columns(spark: SparkSession, catalog: str) -> None:
    create_old(spark, catalog, "lacks_a_column", "concept_rejects")
    audit_old(spark, catalog, "lacks_a_column.concept_rejects", FIRST, publish=False)
    warehouse = Warehouse(spark, catalog, dict.fromkeys(("data", "model", "audit"), "lacks_a_column"), FIRST)
    assert [row["answer"] for row in warehouse.read(tables.CONCEPT_REJECTS).collect()] == [None]
    require_migrated([warehouse])
    assert "answer" in spark.table(warehouse.full_name(tables.CONCEPT_REJECTS)).columns
    assert warehouse.replace(tables.CONCEPT_REJECTS, reject(warehouse)) == 1


def test_writing_to_a_table_adds_columns(spark: SparkSession, catalog: str) -> None:
    create_old(spark, catalog, "written_to", "concept_rejects")
    warehouse = Warehouse(spark, catalog, dict.fromkeys(("data", "model", "audit"), "written_to"), FIRST)
    assert warehouse.replace(tables.CONCEPT_REJECTS, reject(warehouse)) == 1
    assert [row["answer"] for row in warehouse.read(tables.CONCEPT_REJECTS).collect()] == ["{}"]


def test_migration_says_what_it_does_and_does_it_once(old: Warehouse) -> None:
    name = old.full_name(tables.AUDIT_METRICS).removesuffix("audit_metrics")
    told = [line for line in migrate_tables([old, old]) if "new comments" not in line and "audits" not in line]
    assert sorted(told) == [
        f"{name}audit_metrics: is of this version",
        f"{name}audit_metrics: unit_kind: init is untrained in 2 rows of main",
        f"{name}audit_metrics: unit_kind: init is untrained in 3 rows of audit-2026-11-22",
        f"{name}comparisons: is of this version",
        f"{name}comparisons: unit_kind: init is untrained in 1 rows of main",
        f"{name}concept_coverage: added derived_feature_coverage",
        f"{name}concept_coverage: is of this version",
        f"{name}concept_coverage: unit_kind: init is untrained in 2 rows of main",
        f"{name}concept_labels: interpreter: openai is llm in 2 rows of main",
        f"{name}concept_labels: interpreter: openai is llm in 3 rows of audit-2026-11-22",
        f"{name}concept_labels: is of this version",
        f"{name}concept_rejects: added answer",
        f"{name}concepts: added auc, hard_auc, removal_effect, removal_low, removal_high, removal_other, "
        "removal_p_value, found_again, found_again_id, confirmed, same_as, artefact, artefact_p_value, output_feature, "
        "output_score",
        f"{name}concepts: interpreter: openai is llm in 2 rows of main",
        f"{name}concepts: is of this version",
    ]
    assert list(migrate_tables([old])) == []
    require_migrated([old])

    assert on_main(old, tables.AUDIT_METRICS, "unit_kind") == [("sae",), ("untrained",)]
    for table in (tables.CONCEPT_COVERAGE, tables.COMPARISONS):
        assert on_main(old, table, "unit_kind") == [("untrained",)]
    assert on_main(old, tables.CONCEPT_LABELS, "interpreter") == [("llm",)]
    assert on_main(old, tables.CONCEPTS, "latent_id", "interpreter") == [(7, "llm"), (8, "terms")]
    assert on_main(old, tables.CONCEPT_REJECTS, "dt", "answer") == [(FIRST, None), (SECOND, None)]
    described = old.spark.sql(f"DESCRIBE {old.full_name(tables.CONCEPTS)}").collect()
    comments = {row["col_name"]: row["comment"] for row in described if row["comment"]}
    assert comments["interpreter"] == "terms or llm"

    # Tags hold what they held; who reads as of a date sees it in today's form.
    tagged = f"SELECT * FROM {old.full_name(tables.AUDIT_METRICS)} VERSION AS OF 'published-{FIRST}'"
    assert sorted(row["unit_kind"] for row in old.spark.sql(tagged).collect()) == ["init", "sae"]
    assert as_of(old, "SELECT unit_kind FROM audit_metrics ORDER BY 1") == [("sae",), ("untrained",)]
    assert as_of(old, "SELECT answer, latent_id FROM concept_rejects") == [(None, 9)]
    assert as_of(old, "SELECT dt, interpreter FROM concepts ORDER BY 2") == [(FIRST, "llm"), (FIRST, "terms")]
    assert as_of(old, "SELECT count(*) FROM comparisons") == [(0,)]
    assert as_of(old, "SELECT unit_kind FROM comparisons", SECOND) == [("untrained",)]
    # What the migration did on main hides nothing that is merged or removed later.
    published = publications(old)[-1].snapshots["audit_metrics"]
    main = old.references(tables.AUDIT_METRICS)["main"]
    assert old.merged_snapshot(tables.AUDIT_METRICS, published) == main


def test_nights_go_on_after_the_migration(old: Warehouse) -> None:
    list(migrate_tables([old]))
    for dt in (THIRD, FOURTH):  # the refused night is published after all, then a new one
        night = old.at(dt)
        if dt == FOURTH:
            assert night.replace(tables.AUDIT_METRICS, metric(night, 0.5)) == 1
            night.replace(tables.CONCEPT_REJECTS, reject(night))
        publish(night)
    kinds = on_main(old, tables.AUDIT_METRICS, "dt", "unit_kind")
    assert kinds == [*((dt, kind) for dt in (FIRST, SECOND, THIRD) for kind in ("sae", "untrained")), (FOURTH, "sae")]
    assert on_main(old, tables.CONCEPT_LABELS, "interpreter") == [("llm",)]
    assert as_of(old, "SELECT answer FROM concept_rejects ORDER BY dt", FOURTH) == [(None,), (None,), ("{}",)]
    assert as_of(old, "SELECT answer FROM concept_rejects", SECOND) == [(None,), (None,)]


@pytest.mark.parametrize("name", ["audit_metrics", "concept_rejects"])
def test_a_killed_migration_is_finished_by_another_one(spark: SparkSession, catalog: str, name: str) -> None:
    table = tables.TABLES[name]

    def migrated(commits: int | None) -> tuple[int, Any]:
        """What it comes to where a first migration is killed after so many commits."""
        namespace = f"killed_{name}_{commits}"
        create_old(spark, catalog, namespace, name)
        audit_old(spark, catalog, f"{namespace}.{name}", FIRST)
        audit_old(spark, catalog, f"{namespace}.{name}", SECOND, publish=False)
        warehouse = Warehouse(spark, catalog, {"audit": namespace}, SECOND)
        done = len(list(islice(migrate_table(warehouse, table), commits)))
        assert commits is None or name == "concept_rejects" or warehouse.is_outdated(table), commits
        list(migrate_table(warehouse, table))
        assert not warehouse.is_outdated(table)
        return done, (on_main(warehouse, table, "*"), sorted(warehouse.read(table).collect()), warehouse.columns(table))

    steps, expected = migrated(None)
    assert [migrated(commits)[1] for commits in range(steps - 1)] == [expected] * (steps - 1)
    assert steps == {"audit_metrics": 4, "concept_rejects": 2}[name]


def declared_later(monkeypatch: pytest.MonkeyPatch) -> tables.Table:
    """The table of rejects as a next release declares it: with two more columns that hold no nulls."""
    later = [
        column("attempts", INT, "How often it was asked", default=1),
        column("share", FLOAT, "Share of the answer that was read", default=0.5),
    ]
    schema = T.StructType([*tables.CONCEPT_REJECTS.schema.fields, *later])
    table = replace(tables.CONCEPT_REJECTS, schema=schema)
    monkeypatch.setitem(tables.TABLES, "concept_rejects", table)
    return table


def test_a_column_that_came_later_has_its_default(
    spark: SparkSession, catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = declared_later(monkeypatch)
    create_old(spark, catalog, "defaults", "concept_rejects")
    audit_old(spark, catalog, "defaults.concept_rejects", FIRST, publish=False)
    warehouse = Warehouse(spark, catalog, dict.fromkeys(("data", "model", "audit"), "defaults"), FIRST)

    def read() -> list[tuple[Any, ...]]:
        return [tuple(row) for row in warehouse.read(table).select("reason", "attempts", "share").collect()]

    assert read() == [("no JSON", 1, 0.5)]
    second = warehouse.at(SECOND)
    row = (1, 3, "r", "late", "{}", 4, 0.25)
    second.replace(table, spark.createDataFrame([row], table.versioned_row_schema))  # adds the columns
    assert read() == [("no JSON", 1, 0.5)]
    with pytest.raises(Exception, match="Column attempts of table concept_rejects would hold a null"):
        second.replace(table, spark.createDataFrame([(1, 3, "r", "", "", None, 0.5)], nullable(table)))

    def raw() -> list[tuple[Any, ...]]:
        rows = spark.read.option("branch", warehouse.branch).table(warehouse.full_name(table))
        return [tuple(row) for row in rows.select("attempts", "share").collect()]

    assert raw() == [(None, None)]
    assert [line.rpartition(": ")[2] for line in migrate_tables([warehouse]) if "no value" in line] == [
        "no value is 1 in 1 rows of audit-2026-11-20",
        "no value is 0.5 in 1 rows of audit-2026-11-20",
    ]
    assert raw() == [(1, 0.5)]
    assert list(migrate_tables([warehouse])) == []


def nullable(table: tables.Table) -> T.StructType:
    return T.StructType([replace_nullable(field) for field in table.versioned_row_schema.fields])


def replace_nullable(field: T.StructField) -> T.StructField:
    return T.StructField(field.name, field.dataType, True, field.metadata)


def test_a_newer_release_has_added_columns_and_this_one_goes_on(
    spark: SparkSession, catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "back_again")
    warehouse = Warehouse(spark, catalog, scopes, FIRST)
    with monkeypatch.context() as newer:
        table = declared_later(newer)
        create_old(spark, catalog, "back_again", "concept_rejects")
        row = (1, 3, "r", "late", "{}", 4, 0.25)
        warehouse.replace(table, spark.createDataFrame([row], table.versioned_row_schema))
    second = warehouse.at(SECOND)
    assert second.replace(tables.CONCEPT_REJECTS, reject(second)) == 1
    assert [row["reason"] for row in warehouse.read(tables.CONCEPT_REJECTS).collect()] == ["late"]
    table = declared_later(monkeypatch)
    for night, expected in ((warehouse, (4, 0.25)), (second, (1, 0.5))):
        assert tuple(night.read(table).select("attempts", "share").collect()[0]) == expected


def test_columns_of_people_are_left_alone(spark: SparkSession, catalog: str) -> None:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "of_people")
    warehouse = Warehouse(spark, catalog, scopes, FIRST)
    warehouse.replace(tables.CONCEPT_REJECTS, reject(warehouse))
    name = warehouse.full_name(tables.CONCEPT_REJECTS)
    spark.sql(f"ALTER TABLE {name} ADD COLUMNS (note string, seen array<int>)")
    second = warehouse.at(SECOND)
    assert second.replace(tables.CONCEPT_REJECTS, reject(second)) == 1
    for night in (warehouse, second):
        assert night.read(tables.CONCEPT_REJECTS).columns == tables.CONCEPT_REJECTS.schema.names
        rows = spark.read.option("branch", night.branch).table(name).select("note", "seen").collect()
        assert [tuple(row) for row in rows] == [(None, None)]
    warehouse.merge(tables.CONCEPT_RATINGS, rating(warehouse, 4))
    spark.sql(f"ALTER TABLE {warehouse.full_name(tables.CONCEPT_RATINGS)} ADD COLUMNS (note string)")
    warehouse.merge(tables.CONCEPT_RATINGS, rating(warehouse, 5))
    assert [row["rating"] for row in warehouse.read_all(tables.CONCEPT_RATINGS).collect()] == [5]
    assert list(migrate_tables([warehouse])) == []


def rating(warehouse: Warehouse, relevance: int) -> Any:
    row = ("s", 1, "c", "concept", 7, "rater", relevance)
    return warehouse.spark.createDataFrame([row], tables.CONCEPT_RATINGS.versioned_row_schema)


def test_a_foreign_column_that_wants_values_is_named(spark: SparkSession, catalog: str) -> None:
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {catalog}.wanting")
    columns = f"{OLD['concept_rejects']}, answer string, team string NOT NULL"
    spark.sql(f"CREATE TABLE {catalog}.wanting.concept_rejects ({columns}) {OPTIONS}")
    warehouse = Warehouse(spark, catalog, {"audit": "wanting"}, FIRST)
    with pytest.raises(InputError, match="may hold no nulls: team") as refusal:
        warehouse.replace(tables.CONCEPT_REJECTS, reject(warehouse))
    spark.sql(refusal.value.remedy)  # as it says
    assert warehouse.replace(tables.CONCEPT_REJECTS, reject(warehouse)) == 1


def test_columns_that_nothing_explains_are_refused_as_ever(spark: SparkSession, catalog: str) -> None:
    spark.sql(f"CREATE NAMESPACE {catalog}.foreign")
    spark.sql(f"CREATE TABLE {catalog}.foreign.concept_rejects (dt date, latent_id string) {OPTIONS}")
    warehouse = Warehouse(spark, catalog, {"audit": "foreign"}, FIRST)
    list(migrate_tables([warehouse]))
    with pytest.raises(InputError, match="column reason is missing; column latent_id is string, declared int") as told:
        warehouse.replace(tables.CONCEPT_REJECTS, reject(warehouse))
    assert "Give it another name" in str(told.value)


def test_the_first_job_asks_for_the_command_which_migrates(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_workspace(spark, tmp_path / "before", "before")
    conf = ("--conf", str(workspace.folder / "conf" / "planted.yaml"))
    create_old(spark, "before", "planted", "audit_metrics")
    audit_old(spark, "before", "planted.audit_metrics", FIRST)
    assert workspace.recsae_here("run", "ingest_dataset", *conf, "--dt", str(THIRD)) == 2
    assert "earlier version of recsae: before.planted.audit_metrics. Run `recsae migrate`" in capsys.readouterr().err
    assert workspace.recsae_here("migrate", *conf) == 0
    assert "before.planted.audit_metrics: unit_kind: init is untrained in 1 rows of main" in capsys.readouterr().out
    assert workspace.recsae_here("migrate", *conf) == 0
    assert capsys.readouterr().out == "Nothing to do: all is of this version.\n"


def test_a_study_is_migrated_with_all_its_audits(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_workspace(spark, tmp_path / "study", "studied")
    study = tmp_path / "study.yaml"
    models = {"sasrec": {}, "bpr": {"representations": {"sites": ["last", "blocks.0"]}}}
    study.write_text(yaml.safe_dump({"name": "paper", "data_sets": {"films": {}}, "models": models}), encoding="utf-8")
    create_old(spark, "studied", "paper", "comparisons")
    spaces = ("paper_films__sasrec", "paper_films__bpr", "paper_films__bpr__blocks_0")
    for namespace in spaces:
        create_old(spark, "studied", namespace, "concepts")
    assert workspace.recsae_here("compare", "--conf", str(study)) == 2
    told = capsys.readouterr().err
    assert all(f"studied.{table}" in told for table in ("paper.comparisons", *(f"{name}.concepts" for name in spaces)))
    assert workspace.recsae_here("migrate", "--conf", str(study)) == 0
    told = capsys.readouterr().out
    assert told.count(": is of this version") == 4
