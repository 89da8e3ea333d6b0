from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.reading import FILES
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from tests.workspace import DT

TABLE = "recsae.only_read.t"


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession) -> Iterator[Warehouse]:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "only_read")
    spark.sql("CREATE NAMESPACE recsae.only_read")
    spark.sql(f"CREATE TABLE {TABLE} (a INT, dt DATE) USING iceberg")
    spark.sql(f"INSERT INTO {TABLE} VALUES (1, DATE '2026-11-20'), (2, DATE '2026-11-21')")
    yield Warehouse(spark, "recsae", scopes, DT)
    spark.sql(f"DROP TABLE {TABLE}")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM t", "DeleteFromTable"),
        ("WITH x AS (SELECT 1) DELETE FROM t", "DeleteFromTable"),
        ("WITH x AS (SELECT 1) UPDATE t SET a = 3", "UpdateTable"),
        ("WITH x AS (SELECT 3 AS a) INSERT INTO t SELECT a, null FROM x", "InsertIntoStatement"),
        ("FROM t INSERT INTO t SELECT a, dt", "InsertIntoStatement"),
        ("FROM t INSERT INTO t SELECT a, dt INSERT INTO t SELECT a, dt", "InsertIntoStatement"),
        ("INSERT OVERWRITE DIRECTORY '/tmp/never' USING parquet SELECT 1", "InsertIntoDir"),
        ("MERGE INTO t USING (SELECT 1 AS b) s ON t.a = s.b WHEN MATCHED THEN DELETE", "MergeIntoTable"),
        ("-- SELECT\nCREATE TABLE u AS SELECT 1 AS a", "CreateTableAsSelect"),
        ("CREATE TEMPORARY VIEW v AS SELECT 1", "CreateViewCommand"),
        ("CACHE TABLE t", "CacheTable"),
        ("CACHE LAZY TABLE u AS SELECT 1", "CacheTableAsSelect"),
        ("CLEAR CACHE", "ClearCacheCommand"),
        ("REFRESH '/tmp'", "RefreshResource"),
        ("INSERT OVERWRITE LOCAL DIRECTORY '/tmp/never' SELECT 1", "InsertIntoDir"),
        ("LOAD DATA INPATH '/tmp/never' INTO TABLE t", "LoadData"),
        ("ADD FILE '/etc/passwd'", "AddFilesCommand"),
        ("ADD ARCHIVE '/tmp/never.zip'", "AddArchivesCommand"),
        ("LIST FILES", "ListFilesCommand"),
        ("SET", "SetCommand"),
        ("SET -v", "SetCommand"),
        ("SET spark.sql.runSQLOnFiles = true", "SetCommand"),
        ("RESET", "ResetCommand"),
        ("RESET spark.sql.runSQLOnFiles", "ResetCommand"),
        ("SET TIME ZONE 'UTC'", "SetCommand"),
        ("CREATE FUNCTION f AS 'java.lang.Runtime'", "CreateFunction"),
        ("CREATE TEMPORARY FUNCTION f AS 'x.Y' USING JAR '/tmp/never.jar'", "CreateFunctionCommand"),
        ("REPLACE TABLE t AS SELECT 1 AS a", "ReplaceTableAsSelect"),
        ("TRUNCATE TABLE t", "TruncateTable"),
        ("CREATE TABLE u USING csv LOCATION '/etc'", "CreateTable"),
        ("CREATE TEMPORARY VIEW u USING text OPTIONS (path '/etc/passwd')", "CreateTempViewUsing"),
        ("EXPLAIN SELECT reflect('java.lang.System', 'getenv', 'HOME')", "run code"),
        ("SELECT try_reflect('java.lang.System', 'getenv', 'HOME')", "run code"),
        ("SELECT a FROM t WHERE a = (SELECT max(int(REFLECT('java.lang.System', 'nanoTime'))) FROM t)", "run code"),
        # of Spark 4, which has statements of them
        ("EXECUTE IMMEDIATE 'DROP TABLE t'", "EXECUTE|ExecuteImmediate"),
        ("DECLARE VARIABLE x INT", "DECLARE|CreateVariable"),
        ("BEGIN DROP TABLE t; END", "BEGIN|Compound"),
        ("ALTER TABLE t CREATE BRANCH b", "CreateOrReplaceBranch"),
        ("DROP TABLE t", "DropTable"),
        ("CALL recsae.system.rollback_to_snapshot('only_read.t', 1)", "CallStatement"),
        ("SET spark.sql.catalog.other = org.apache.iceberg.spark.SparkCatalog", "SetCommand"),
        ("ADD JAR '/tmp/never.jar'", "AddJarsCommand"),
        ("SELECT TRANSFORM(a) USING 'cat' FROM t", "ScriptTransformation"),
        ("SELECT a FROM (SELECT TRANSFORM(a) USING 'cat' AS (a) FROM t)", "ScriptTransformation"),
        ("SELECT java_method('java.lang.System', 'nanoTime')", "run code"),
        ("SELECT 1 WHERE 1 IN (SELECT length(REFLECT('java.lang.System', 'lineSeparator')) FROM t)", "run code"),
        ("WITH x AS (SELECT (SELECT reflect('java.lang.System', 'nanoTime')) AS y) SELECT * FROM x", "run code"),
        ("EXPLAIN SELECT reflect('java.lang.System', 'nanoTime')", "run code"),
    ],
)
def test_what_does_more_than_read_is_refused(warehouse: Warehouse, statement: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        run_query(warehouse, statement)
    rows = warehouse.spark.table(TABLE).orderBy("a").collect()
    assert [row["a"] for row in rows] == [1, 2]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("SELECT * FROM t WHERE a = :a", 1),
        ("WITH x AS (SELECT a FROM t) SELECT * FROM x JOIN t USING (a)", 2),
        ("(SELECT a FROM t) UNION ALL VALUES (1)", 3),
        ("TABLE t", 2),
        ("FROM t SELECT a", 2),
        ("SHOW TABLES", 1),
        ("DESCRIBE t", 2),
        ("SHOW CREATE TABLE t", 1),
        ("EXPLAIN DELETE FROM t", 1),
        ("DESCRIBE QUERY SELECT 1", 1),
        ("SELECT snapshot_id FROM only_read.t.snapshots", 1),
        ("SELECT t.a, row_number() OVER (ORDER BY a) FROM t LATERAL VIEW explode(array(1, 2)) z AS q", 4),
    ],
)
def test_what_reads_is_answered(warehouse: Warehouse, query: str, count: int) -> None:
    parameters = {"a": 1} if ":a" in query else None
    assert run_query(warehouse, query, parameters).count() == count
    assert warehouse.spark.table(TABLE).count() == 2


FROM_FILES = [
    "SELECT * FROM text.`{file}`",
    "SELECT * FROM csv.`{file}`",
    "SELECT * FROM json.`{file}`",
    "SELECT * FROM parquet.`{file}`",
    "SELECT * FROM orc.`{file}`",
    "SELECT * FROM binaryFile.`{file}`",
    "SELECT * FROM iceberg.`{file}`",
    "SELECT * FROM TEXT.`file://{file}`",
    "SELECT (SELECT max(value) FROM text.`{file}`)",
    "SELECT a FROM t WHERE a IN (SELECT length(value) FROM text.`{file}`)",
    "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM text.`{file}`)",
    "WITH x AS (SELECT * FROM text.`{file}`) SELECT * FROM x",
    "SELECT * FROM t JOIN LATERAL (SELECT * FROM text.`{file}`)",
    "SELECT a FROM t UNION ALL SELECT length(value) FROM text.`{file}`",
    "DESCRIBE text.`{file}`",
    "DESCRIBE QUERY SELECT * FROM text.`{file}`",
    "SHOW CREATE TABLE text.`{file}`",
    "SELECT * FROM read_files('{file}')",
    "SELECT * FROM read_csv('{file}')",
]


@pytest.mark.parametrize("query", FROM_FILES)
def test_files_are_no_tables(warehouse: Warehouse, tmp_path: Path, query: str) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("the secret line", encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        run_query(warehouse, query.format(file=file))
    assert "the secret line" not in str(refusal.value)
    assert warehouse.spark.conf.get(FILES) == "true"  # for the jobs of this process


@pytest.mark.parametrize(
    "query", ["EXPLAIN SELECT * FROM text.`{file}`", "EXPLAIN EXTENDED SELECT * FROM csv.`{file}`"]
)
def test_an_explanation_looks_into_no_file(warehouse: Warehouse, tmp_path: Path, query: str) -> None:
    (tmp_path / "secret.csv").write_text("the secret line", encoding="utf-8")
    (row,) = run_query(warehouse, query.format(file=tmp_path / "secret.csv")).collect()
    assert "TABLE_OR_VIEW_NOT_FOUND" in row["plan"]
    assert "FileScan" not in row["plan"]


@pytest.mark.parametrize("source", ["text", "csv", "parquet", "v2"])
def test_a_view_over_files_is_refused(warehouse: Warehouse, tmp_path: Path, source: str) -> None:
    spark, folder = warehouse.spark, str(tmp_path / "rows")
    written = "text" if source == "v2" else source
    spark.range(2).selectExpr("cast(id AS STRING) AS id").write.format(written).save(folder)
    if source == "v2":
        spark.conf.set("spark.sql.sources.useV1SourceList", "")
    try:
        spark.read.format(written).load(folder).createOrReplaceTempView("over_files")
    finally:
        spark.conf.unset("spark.sql.sources.useV1SourceList")
    with pytest.raises(InputError, match="no table of ours"):
        run_query(warehouse, "SELECT count(*) FROM over_files")
    spark.catalog.dropTempView("over_files")


def test_functions_that_somebody_registered_are_refused(warehouse: Warehouse) -> None:
    warehouse.spark.udf.register("of_python", lambda value: value, "int")
    with pytest.raises(InputError, match="functions of others run code"):
        run_query(warehouse, "SELECT of_python(a) FROM t")
    warehouse.spark.sql("DROP TEMPORARY FUNCTION of_python")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT xpath('<!DOCTYPE a [<!ENTITY e SYSTEM \"file:{file}\">]><a>&e;</a>', 'a/text()')",
        "SELECT xpath_string('<!DOCTYPE a [<!ENTITY e SYSTEM \"file:{file}\">]><a>&e;</a>', 'a')",
    ],
)
def test_xml_brings_in_no_file(warehouse: Warehouse, tmp_path: Path, query: str) -> None:
    (tmp_path / "secret.txt").write_text("the secret line", encoding="utf-8")
    assert "secret line" not in str(run_query(warehouse, query.format(file=tmp_path / "secret.txt")).collect()[0][0])


def test_a_view_that_runs_code_is_refused(warehouse: Warehouse) -> None:
    view = "CREATE TEMPORARY VIEW hidden AS SELECT reflect('java.lang.System', 'nanoTime') AS now"
    warehouse.spark.sql(view)
    with pytest.raises(InputError, match="run code"):
        run_query(warehouse, "SELECT now FROM hidden")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM t VERSION AS OF 'published-2020-01-01'", "lists the tags and branches"),
        ("SELECT * FROM nowhere", "SHOW TABLES lists the tables"),
        ("", "end of input"),
    ],
)
def test_what_spark_refuses_is_told_in_one_line(warehouse: Warehouse, query: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        run_query(warehouse, query)
    assert "\n" not in str(refusal.value)
