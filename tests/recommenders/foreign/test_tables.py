from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.recommenders.foreign.loading import read_numbering
from recsae_lib.recommenders.foreign.tables import read_own_rows, validate_lists, validate_vectors, write_rejected

NAN, INF = float("nan"), float("inf")
VECTORS = [
    ("a", [1.0, 2.0]),
    ("b", [0.0, -1.5]),
    ("null", None),
    (None, [1.0, 1.0]),
    ("twice", [1.0, 1.0]),
    ("twice", [2.0, 2.0]),
    ("long", [1.0, 2.0, 3.0]),
    ("empty", []),
    ("nan", [1.0, NAN]),
    ("infinite", [-INF, 1.0]),
    ("too large", [1e300, 1.0]),
    ("hole", [None, 1.0]),
]


def test_a_vector_is_rejected_with_its_reason(spark: SparkSession, tmp_path: Path) -> None:
    table = str(tmp_path / "vectors")
    spark.createDataFrame(VECTORS, "user_id string, representation array<double>").write.parquet(table)
    validated = validate_vectors(
        read_own_rows(spark, table, {"user_id": "id", "representation": "vector"}), "user_id", "representation"
    )
    assert validated.accepted.dtypes == [("user_id", "string"), ("representation", "array<float>")]
    assert sorted(tuple(row) for row in validated.accepted.collect()) == [("a", [1.0, 2.0]), ("b", [0.0, -1.5])]
    folder = str(tmp_path / "rejected")
    assert write_rejected(validated, folder) == 10
    reasons = {(row["id"], row["reason"]) for row in spark.read.parquet(folder).collect()}
    assert reasons == {
        ("null", "representation is null"),
        (None, "user_id is null"),
        ("twice", "user_id stands more than once"),
        ("long", "representation has 3 values, most have 2"),
        ("empty", "representation has 0 values, most have 2"),
        ("nan", "representation holds a null, NaN or infinity"),
        ("infinite", "representation holds a null, NaN or infinity"),
        ("too large", "representation holds a null, NaN or infinity"),
        ("hole", "representation holds a null, NaN or infinity"),
    }


def test_a_list_is_rejected_with_its_reason(spark: SparkSession) -> None:
    rows = [
        ("a", ["x", "y"], [2.0, 2.0]),
        ("none", [], []),
        ("null", None, None),
        ("hole", ["x", None], [2.0, 1.0]),
        ("again", ["x", "x"], [2.0, 1.0]),
        ("short", ["x", "y"], [2.0]),
        ("rising", ["x", "y"], [1.0, 2.0]),
        ("nan", ["x"], [NAN]),
    ]
    validated = validate_lists(
        spark.createDataFrame(rows, "user_id string, item_ids array<string>, scores array<float>")
    )
    assert sorted(row["user_id"] for row in validated.accepted.collect()) == ["a", "none"]
    assert {row["id"]: row["reason"] for row in validated.rejected.collect()} == {
        "null": "item_ids is null",
        "hole": "item_ids holds a null",
        "again": "item_ids holds an item twice",
        "short": "scores are not as many as item_ids",
        "rising": "scores do not fall",
        "nan": "scores hold a null, NaN or infinity",
    }


def test_tables_are_read_by_name_and_ids_may_be_numbers(spark: SparkSession) -> None:
    spark.createDataFrame([(7, [1.0])], "user_id bigint, representation array<float>").createOrReplaceTempView("own_x")
    rows = read_own_rows(spark, "own_x", {"user_id": "id", "representation": "vector"})
    assert [tuple(row) for row in rows.collect()] == [("7", [1.0])]


def test_a_table_of_another_shape_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    spark.createDataFrame([(1.5, ["a"])], "user_id double, x array<string>").createOrReplaceTempView("own_other")
    wanted = {"user_id": "id", "representation": "vector"}
    with pytest.raises(InputError, match="its column user_id is double; it has no column representation"):
        read_own_rows(spark, "own_other", wanted)
    with pytest.raises(InputError, match="There is no file or folder"):
        read_own_rows(spark, str(tmp_path / "absent"), wanted)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 1), ("a", 2)], "numbers item_id 'a' 2 times"),
        ([("a", 1), ("b", -1)], "1 rows of own_numbers have no item_id or no row"),
        ([("a", None), (None, 1)], "2 rows of own_numbers"),
    ],
)
def test_a_faulty_numbering_is_refused(rows: list[object], message: str, spark: SparkSession) -> None:
    spark.createDataFrame(rows, "item_id string, item_index int").createOrReplaceTempView("own_numbers")  # type: ignore[type-var]
    with pytest.raises(InputError, match=message):
        read_numbering(spark, "own_numbers", "item")
