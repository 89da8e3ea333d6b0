"""The saved queries, on the tables of a whole audit; and the tables as they were published on a date."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyspark
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.java import find_java_home
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from tests.planted import FEATURES
from tests.publishing import publish as publish_audit
from tests.workspace import DT, REPOSITORY, Workspace

pytestmark = pytest.mark.integration

QUERIES = REPOSITORY / "conf" / "queries"
METRIC = "sae_version int, unit_kind string, metric string, value double"
TESTED = {
    "what_does_the_model_know",
    "concepts_of_a_segment",
    "users_of_a_concept",
    "coverage_over_time",
    "what_changed_since_last_week",
}


def saved(workspace: Workspace, name: str, **parameters: str) -> list[dict[str, Any]]:
    query = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    return [row.asDict() for row in run_query(workspace.warehouse(), query, parameters).collect()]


def rows(workspace: Workspace, table: tables.Table) -> list[dict[str, Any]]:
    return [row.asDict() for row in workspace.warehouse().read_published(table).collect()]


def test_clients_of_the_sql_server_read_the_tables(audited: Workspace, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What main holds is not what is published: clients see what is.
    half = Warehouse(audited.spark, audited.catalog, dict.fromkeys(("data", "model", "audit"), "half"), DT)
    for value, write in ((0.25, half.replace), (0.75, half.merge)):
        write(tables.AUDIT_METRICS, audited.spark.createDataFrame([(1, "sae", "fvu", value)], METRIC))
        if value == 0.25:
            publish_audit(half)
    command = [sys.executable, "-m", "recsae_lib.cli", "sql-server", "--conf", "conf/planted.yaml", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=audited.folder, stdout=log, stderr=log, start_new_session=True)
    try:
        ends = time.monotonic() + 300
        with socket.socket() as waiting:
            while waiting.connect_ex(("127.0.0.1", port)):
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < ends
                time.sleep(0.2)
        beeline = [
            str(Path(pyspark.__file__).parent / "bin" / "beeline"),
            "-u",
            f"jdbc:hive2://127.0.0.1:{port}/planted",
        ]
        query = "SELECT latent_id, label, confidence FROM concepts ORDER BY latent_id"
        doing = [
            *("DELETE FROM concepts", "WITH x AS (SELECT 1) DELETE FROM concepts", "SET a = b"),
            *("INSERT INTO concepts SELECT * FROM concepts", "CREATE TEMPORARY VIEW v AS SELECT 1"),
            "SELECT java_method('java.lang.System', 'nanoTime')",
        ]
        of_half = "SELECT m.value, audit_metrics.value FROM half.audit_metrics m, half.audit_metrics"
        questions = [argument for statement in (*doing, of_half, query) for argument in ("-e", statement)]
        answer = subprocess.run(
            [*beeline, "-n", "reader", "--outputformat=csv2", "--silent=true", "--force=true", *questions],
            env={**os.environ, "JAVA_HOME": str(find_java_home())},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    refused = [line for line in answer.stderr.splitlines() if line.startswith("Error: ")]
    assert ["Only queries are taken" in line or "run code" in line for line in refused] == [True] * len(doing)
    assert "Traceback" not in answer.stderr
    # Beeline writes its prompt before the first line and after the last one.
    assert "0.25,0.25\n" in answer.stdout, answer.stdout + answer.stderr
    _, header, table = answer.stdout.partition("latent_id,label,confidence\n")
    assert header, answer.stdout + answer.stderr
    lines = [line for line in table.splitlines() if "," in line]
    expected = sorted(rows(audited, tables.CONCEPTS), key=lambda row: row["latent_id"])
    assert [int(line.partition(",")[0]) for line in lines] == [row["latent_id"] for row in expected]
    assert [float(line.rpartition(",")[2]) for line in lines if not line.endswith("NULL")] == [
        row["confidence"] for row in expected if row["confidence"] is not None
    ]
    assert sorted(path.name for path in audited.folder.iterdir()) == ["conf", "data", "var"]  # no Hive beside them


def test_every_table_that_an_audit_writes_is_in_the_list(audited: Workspace) -> None:
    shown = audited.spark.sql(f"SHOW TABLES IN {audited.catalog}.planted").collect()
    written = {row["tableName"] for row in shown}
    assert written == {table.name for table in (*tables.AUDIT_TABLES, tables.AUDITS, tables.AUDIT_ATTEMPTS)}


def test_every_saved_query_is_tested() -> None:
    assert {path.stem for path in QUERIES.glob("*")} == TESTED


def test_what_the_model_knows(audited: Workspace) -> None:
    known = saved(audited, "what_does_the_model_know")
    concepts = {row["latent_id"]: row for row in rows(audited, tables.CONCEPTS)}
    assert sorted(row["latent_id"] for row in known) == sorted(concepts)
    order = [(not row["confirmed"], not row["interpretable"], -(row["confidence"] or -1.0)) for row in known]
    assert order == sorted(order)
    assert {row["confirmed"] for row in known} == {True, False}
    terms = [row for row in rows(audited, tables.CONCEPT_TERMS) if row["significant"] and row["rank"] <= 5]
    for row in known:
        best = sorted((t["rank"], t["term"]) for t in terms if t["latent_id"] == row["latent_id"])
        assert row["terms"] == (", ".join(term for _, term in best) or None)
        assert row["label"] == concepts[row["latent_id"]]["label"]


def test_concepts_of_a_segment(audited: Workspace) -> None:
    feature = FEATURES[0]
    having = {row["item_id"] for row in rows(audited, tables.ITEMS) if feature in row["features"]}
    shares = {
        row["user_id"]: len(having.intersection(row["item_ids"])) / len(row["item_ids"])
        for row in rows(audited, tables.RECOMMENDATIONS)
    }
    segment = {user for user, share in shares.items() if share > sum(shares.values()) / len(shares)}
    fires: dict[int, set[str]] = {}
    activations = rows(audited, tables.LATENT_ACTIVATIONS)
    for row in activations:
        for latent in row["latent_ids"]:
            fires.setdefault(latent, set()).add(row["user_id"])
    found = saved(audited, "concepts_of_a_segment", feature=feature)
    assert {row["latent_id"] for row in found} == {latent for latent, users in fires.items() if users & segment}
    for row in found:
        users = fires[row["latent_id"]]
        share = len(users & segment) / len(segment)
        assert row["users_in_segment"] == len(users & segment)
        assert row["share_of_segment"] == pytest.approx(share)
        assert row["lift"] == pytest.approx(share / (len(users) / len(activations)))
    assert [row["lift"] for row in found] == sorted((row["lift"] for row in found), reverse=True)
    assert found[0]["lift"] > 2  # of eight features, each user follows one


def test_users_of_a_concept(audited: Workspace) -> None:
    latent = rows(audited, tables.CONCEPTS)[0]["latent_id"]
    expected = [
        (-value, row["user_id"])
        for row in rows(audited, tables.LATENT_ACTIVATIONS)
        for place, value in zip(row["latent_ids"], row["activations"], strict=True)
        if place == latent
    ]
    found = saved(audited, "users_of_a_concept", latent=str(latent))
    assert [(-row["activation"], row["user_id"]) for row in found] == sorted(expected)
    assert found


def test_coverage_over_time(audited: Workspace) -> None:
    (row,) = saved(audited, "coverage_over_time")
    (expected,) = (
        cell
        for cell in rows(audited, tables.CONCEPT_COVERAGE)
        if cell["unit_kind"] == "sae" and cell["min_confidence"] == pytest.approx(0.8)
    )
    assert row == {name: expected[name] for name in row}


def test_what_changed_since_last_week(audited: Workspace, spark: SparkSession) -> None:
    assert saved(audited, "what_changed_since_last_week") == []  # the first audit
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "changed")
    for days, change in ((0, "born"), (2, "gone"), (3, "stable"), (8, "drifted")):
        warehouse = Warehouse(spark, "recsae", scopes, DT + timedelta(days=days))
        for table, values in (
            (tables.CONCEPTS, {}),
            (tables.CONCEPT_DRIFT, {"change": change}),
        ):
            row = tuple(values.get(field.name, filler(field)) for field in table.versioned_row_schema)
            warehouse.replace(table, spark.createDataFrame([row], table.versioned_row_schema))
        publish_audit(warehouse)
    query = (QUERIES / "what_changed_since_last_week.sql").read_text(encoding="utf-8")
    changed = [(row["dt"], row["change"]) for row in run_query(warehouse, query).collect()]
    assert changed == [(DT + timedelta(days=8), "drifted"), (DT + timedelta(days=2), "gone")]


def filler(field: StructField) -> Any:
    """Some value of the type of a column that a test does not look at."""
    if field.nullable:
        return None
    of_type = {"string": "", "int": 1, "bigint": 1, "double": 1.0, "date": DT, "boolean": True, "array<string>": []}
    return of_type[field.dataType.simpleString()]


def test_a_file_and_its_parameters_from_the_command_line(
    audited: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    conf = ("--conf", str(audited.folder / "conf" / "planted.yaml"))
    file = tmp_path / "query.sql"
    file.write_text("-- a comment\n/* and\nanother */ SELECT :name AS name", encoding="utf-8")
    harmless = "name=x'; DROP TABLE concepts; --"
    assert audited.recsae_here("sql", *conf, "--file", str(file), "--parameter", harmless, "--format", "csv") == 0
    assert capsys.readouterr().out.splitlines() == ["name", "x'; DROP TABLE concepts; --"]
    assert audited.recsae_here("sql", *conf, "--file", str(file)) == 2
    assert "--parameter NAME=VALUE gives a value" in capsys.readouterr().err
    assert audited.recsae_here("sql", *conf, "--file", str(file), "--parameter", "name") == 2
    assert "not of the form NAME=VALUE" in capsys.readouterr().err
    assert audited.recsae_here("sql", *conf) == 2
    assert "takes a query, --file or --saved" in capsys.readouterr().err
    file.write_text("-- SELECT\nDROP TABLE concepts", encoding="utf-8")
    assert audited.recsae_here("sql", *conf, "--file", str(file)) == 2
    assert "DropTable does more than read" in capsys.readouterr().err
    assert audited.recsae_here("sql", *conf, "WITH x AS (SELECT 1) DELETE FROM concepts") == 2
    assert "DeleteFromTable does more than read" in capsys.readouterr().err
    assert audited.recsae_here("sql", *conf, "SELECT raise_error('no such luck')") == 2
    assert "Spark refuses the query: " in capsys.readouterr().err


def test_what_lies_where_it_was_written_need_not_be_relocated(
    audited: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited.recsae_here("relocate", "--conf", str(audited.folder / "conf" / "planted.yaml")) == 0
    assert capsys.readouterr().out == "Nothing to do: all is where it says it is.\n"


def test_tables_as_they_were_published_on_a_date(spark: SparkSession) -> None:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "as_of")

    def publish(dt: date, value: float) -> Warehouse:
        warehouse = Warehouse(spark, "recsae", scopes, dt)
        metric = [(1, "sae", "fvu", value)]
        warehouse.replace(
            tables.AUDIT_METRICS,
            spark.createDataFrame(metric, METRIC),
        )
        publish_audit(warehouse)
        return warehouse

    publish(DT, 0.25)
    warehouse = publish(DT + timedelta(days=2), 0.5)
    query = "SELECT value, (SELECT count(*) FROM audits) AS audits FROM audit_metrics ORDER BY dt"

    def values(as_of: date | None) -> list[tuple[float, int]]:
        return [tuple(row) for row in run_query(warehouse, query, as_of=as_of).collect()]

    assert values(None) == values(DT + timedelta(days=2)) == [(0.25, 2), (0.5, 2)]
    assert values(DT) == values(DT + timedelta(days=1)) == [(0.25, 1)]
    before = datetime.now(timezone.utc)
    publish(DT, 0.75)  # a late re-run
    assert values(None) == [(0.75, 3), (0.5, 3)]
    assert values(DT + timedelta(days=2)) == [(0.25, 3), (0.5, 3)]  # as it was published then
    assert values(DT) == [(0.75, 2)]
    assert [value for value, _ in values(before)] == [0.25, 0.5]
    assert [value for value, _ in values(datetime.now(timezone.utc))] == [0.75, 0.5]
    with pytest.raises(InputError, match=f"No audit of as_of up to {DT - timedelta(days=1)}"):
        values(DT - timedelta(days=1))
    assert not [shown for shown in spark.catalog.listTables() if shown.isTemporary]


def test_as_of_shows_what_is_published_directly(spark: SparkSession) -> None:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "said_later")
    first, second = (Warehouse(spark, "recsae", scopes, DT + timedelta(days=days)) for days in (0, 2))
    rating = ("sample", 1, "case", "concept", 7)
    for warehouse, opinion in ((first, 2), (second, 4)):
        rows = spark.createDataFrame([(*rating, "rater", opinion)], tables.CONCEPT_RATINGS.versioned_row_schema)
        warehouse.merge(tables.CONCEPT_RATINGS, rows)
        rows = spark.createDataFrame([("films", "sasrec", "last", "sae", "fvu", 0.5)], tables.COMPARISONS.row_schema)
        warehouse.merge(tables.COMPARISONS, rows)
    refused = spark.createDataFrame([("file", "digest", 2, "no such case", "{}")], tables.RATING_REJECTS.row_schema)
    second.merge(tables.RATING_REJECTS, refused)
    # A table that audits publish has its rows from its tags, and none before the first one.
    label = tuple(filler(field) for field in tables.CONCEPT_LABELS.versioned_row_schema)
    second.replace(tables.CONCEPT_LABELS, spark.createDataFrame([label], tables.CONCEPT_LABELS.versioned_row_schema))
    publish_audit(second)

    counts = ", ".join(
        f"(SELECT count(*) FROM {name})"
        for name in ("concept_ratings", "comparisons", "rating_rejects", "concept_labels")
    )

    def shown(as_of: date | None) -> tuple[int, ...]:
        return tuple(run_query(first, f"SELECT {counts}", as_of=as_of).collect()[0])

    assert shown(None) == shown(DT + timedelta(days=2)) == (2, 2, 1, 1)
    assert shown(DT) == shown(DT + timedelta(days=1)) == (1, 1, 1, 0)
    with pytest.raises(InputError, match=f"No audit of said_later up to {DT - timedelta(days=1)}"):
        shown(DT - timedelta(days=1))
