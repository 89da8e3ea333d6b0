from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.data_files import write_data_file
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, LATENT_ACTIVATIONS, RECOMMENDATIONS
from tests.publishing import publish

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
VERSIONS = SimpleNamespace(model_version=1, sae_version=7)


@pytest.fixture
def monday(spark: SparkSession, request: pytest.FixtureRequest) -> Warehouse:
    name = f"files_{abs(hash(request.node.name))}"
    return Warehouse(spark, "recsae", {"data": name, "model": name, "audit": name}, MONDAY, VERSIONS)


def metrics(values: list[float | None]) -> Iterator[pa.RecordBatch]:
    names = pa.array([f"m{place}" for place in range(len(values))], pa.string())
    kinds = pa.array(["sae"] * len(values), pa.string())
    yield pa.RecordBatch.from_pydict({"value": pa.array(values, pa.float64()), "metric": names, "unit_kind": kinds})


def values(warehouse: Warehouse) -> list[float | None]:
    return [row.value for row in warehouse.read(AUDIT_METRICS).orderBy("value").collect()]


def test_each_part_becomes_a_file_and_a_second_run_replaces_all(spark: SparkSession, monday: Warehouse) -> None:
    parts: list[list[float | None]] = [[1.0, None], [], [2.0]]
    assert monday.replace_by_files(AUDIT_METRICS, parts, metrics) == 3
    assert values(monday) == [None, 1.0, 2.0]
    rows = monday.read(AUDIT_METRICS)
    assert {(row.dt, row.sae_version, row.unit_kind) for row in rows.collect()} == {(MONDAY, 7, "sae")}
    assert rows.select(F.input_file_name()).distinct().count() == 2
    assert not spark.table(monday.full_name(AUDIT_METRICS)).collect()  # nothing on main
    assert monday.replace_by_files(AUDIT_METRICS, [[3.0]], metrics) == 1
    assert values(monday) == [3.0]
    assert monday.replace_by_files(AUDIT_METRICS, [], metrics) == 0
    assert values(monday) == []


def test_both_ways_of_writing_replace_only_the_same_date(spark: SparkSession, monday: Warehouse) -> None:
    tuesday = Warehouse(spark, "recsae", monday.namespaces, TUESDAY, VERSIONS)
    monday.replace(AUDIT_METRICS, spark.createDataFrame([("sae", "fvu", 0.5)], AUDIT_METRICS.row_schema))
    tuesday.replace_by_files(AUDIT_METRICS, [[1.5]], metrics)
    for warehouse in (monday, tuesday):
        publish(warehouse)
    monday.replace_by_files(AUDIT_METRICS, [[2.5]], metrics)
    assert (values(monday), values(tuesday)) == ([2.5], [1.5])
    given = "sae_version int, unit_kind string, metric string, value double"  # versions that the rows bring stay
    tuesday.replace(AUDIT_METRICS, spark.createDataFrame([(1, "sae", "fvu", 3.5)], given))
    assert [row.sae_version for row in tuesday.read(AUDIT_METRICS).collect()] == [1]
    assert (values(monday), values(tuesday)) == ([2.5], [3.5])


def test_lists_are_read_back_and_files_carry_bounds_for_planning(spark: SparkSession, monday: Warehouse) -> None:
    def lists(part: int) -> Iterator[pa.RecordBatch]:
        whole = pa.RecordBatch.from_pydict(
            {
                "user_id": ["a", f"u{part}", "z"],
                "item_ids": pa.array([["x"], ["i", "j"], []], pa.list_(pa.string())),
                "context_ids": pa.array([[], ["c"], []], pa.list_(pa.string())),
                "scores": pa.array([[9.0], [0.5, -0.25], []], pa.list_(pa.float32())),
            }
        )
        yield whole.slice(1)  # offsets that do not start at 0

    monday.replace_by_files(RECOMMENDATIONS, [1, 2], lists)
    rows = sorted((row.user_id, row.item_ids, row.scores) for row in monday.read(RECOMMENDATIONS).collect())
    assert rows == [("u1", ["i", "j"], [0.5, -0.25]), ("u2", ["i", "j"], [0.5, -0.25]), ("z", [], []), ("z", [], [])]
    files = spark.sql(
        f"SELECT readable_metrics.user_id, record_count FROM {monday.full_name(RECOMMENDATIONS)}.all_files"
    )
    bounds = [(row.user_id.lower_bound, row.user_id.upper_bound, row.record_count) for row in files.collect()]
    assert sorted(bounds) == [("u1", "z", 2), ("u2", "z", 2)]


def test_failing_task_leaves_what_was_there(monday: Warehouse) -> None:
    monday.replace_by_files(AUDIT_METRICS, [[1.0]], metrics)

    def failing(part: int) -> Iterator[pa.RecordBatch]:
        yield from metrics([float(part)])
        if part:
            raise InputError("Half of it is missing", "Bring it")

    with pytest.raises(Exception, match="InputError: Half of it is missing"):
        monday.replace_by_files(AUDIT_METRICS, [0, 1], failing)
    assert values(monday) == [1.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"metric": ["m"], "unit_kind": ["sae"]}, "have no column value"),
        ({"metric": ["m"], "unit_kind": ["sae"], "value": ["1"]}, "hold string, not double"),
        ({"metric": pa.array([None], pa.string()), "unit_kind": ["sae"], "value": [1.0]}, "metric of table .* a null"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    schema = pa.schema(
        [
            pa.field("unit_kind", pa.string(), nullable=False),
            pa.field("metric", pa.string(), nullable=False),
            pa.field("value", pa.float64()),
        ]
    )
    with pytest.raises(InputError, match=message):
        write_data_file(str(tmp_path / "file"), "audit_metrics", schema, [pa.RecordBatch.from_pydict(columns)], {})


def test_null_inside_a_list_is_refused(monday: Warehouse) -> None:
    def holed(part: int) -> Iterator[pa.RecordBatch]:
        ids, activations = pa.array([[1, None]], pa.list_(pa.int32())), pa.array([[1.0, 2.0]], pa.list_(pa.float32()))
        yield pa.RecordBatch.from_pydict({"user_id": ["u"], "latent_ids": ids, "activations": activations})

    with pytest.raises(Exception, match="InputError: Column latent_ids of table latent_activations would hold a null"):
        monday.replace_by_files(LATENT_ACTIVATIONS, [0], holed)


def test_every_attempt_writes_a_file_of_its_own(spark: SparkSession, monday: Warehouse, tmp_path: Path) -> None:
    def with_attempt(part: int) -> Iterator[pa.RecordBatch]:
        yield from metrics([float(TaskContext.get().taskAttemptId())])  # type: ignore[union-attr]

    for _ in range(2):
        monday.replace_by_files(AUDIT_METRICS, [0], with_attempt)
        (row,) = monday.read(AUDIT_METRICS).select("value", F.input_file_name().alias("file")).collect()
        assert row.file.endswith(f"-00000-{int(row.value)}.parquet")
