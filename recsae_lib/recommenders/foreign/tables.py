"""Tables that belong to a model of your own: its numbering, its representations, its recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.files import parquet_files
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.read_errors import reading

BROADCAST_KEYS = 100_000  # repeated ids that are sent to every executor; more are shuffled
ID_TYPES = (T.StringType, T.IntegerType, T.LongType)
NUMBER_TYPES = (T.FloatType, T.DoubleType)
INDEX_TYPES = (T.IntegerType, T.LongType, T.ShortType, T.ByteType)


@dataclass(frozen=True)
class ValidatedRows:
    """Rows of a table of yours: those that can be used, and the others.

    Parameters
    ----------
    accepted : the declared columns.
    rejected : (id, reason), one row a rejected row.
    """

    accepted: DataFrame
    rejected: DataFrame


def read_own_rows(
    spark: SparkSession, name: str, columns: Mapping[str, str], optional: tuple[str, ...] = ()
) -> DataFrame:
    """Read columns of a Spark table, or of a Parquet file or folder where there is no table of that name.

    Parameters
    ----------
    columns : what each must hold: id, index, vector, ids, numbers. Ids become STRING, indices BIGINT, vectors and
        numbers ARRAY<FLOAT>, ids ARRAY<STRING>.
    optional : columns that may be absent.

    Raises
    ------
    InputError : there is neither, a column is missing, or it has another type.
    """
    with reading(name):
        if _is_table(spark, name):
            rows = spark.table(name)
        else:
            parquet_files(
                spark, name, "Give the name of the table itself, of a catalog that the Spark properties declare"
            )
            rows = spark.read.parquet(name)
    found = {field.name: field.dataType for field in rows.schema.fields}
    selected, faults = [], []
    for column, meaning in columns.items():
        if column not in found:
            faults += [] if column in optional else [f"it has no column {column}"]
            continue
        data_type, fits = _as(meaning, found[column])
        faults += [] if fits else [f"its column {column} is {found[column].simpleString()}"]
        selected.append(F.col(column).cast(data_type).alias(column))
    if faults:
        wanted = ", ".join(f"{column} ({meaning})" for column, meaning in columns.items())
        raise InputError(f"{name} cannot be read: {'; '.join(faults)}", f"Give it the columns {wanted}")
    return rows.select(*selected)


def validate_vectors(rows: DataFrame, key: str, vector: str) -> ValidatedRows:
    """Accept the rows with a usable vector, and reject the others.

    d is the most frequent length, of equally frequent ones the shorter. A row is rejected whose id is null or stands
    more than once (all rows of it), whose vector is null or not d values long, or holds a null, NaN or infinity.

    Parameters
    ----------
    rows : (`key` STRING, `vector` ARRAY<FLOAT>); read three times.
    """
    x = F.col(vector)
    length = most_frequent_length(rows, vector)
    value_fault = F.exists(x, lambda v: v.isNull() | F.isnan(v) | (F.abs(v) == F.lit(float("inf"))))
    return _validated(
        rows,
        key,
        [
            (x.isNull(), F.lit(f"{vector} is null")),
            (F.size(x) != length, F.format_string(f"{vector} has %d values, most have {length}", F.size(x))),
            (value_fault, F.lit(f"{vector} holds a null, NaN or infinity")),
        ],
    )


def validate_lists(rows: DataFrame) -> ValidatedRows:
    """Accept usable recommendations, (user_id, item_ids[, scores]), and reject the other rows.

    A row is rejected whose user_id is null or stands more than once, whose items are null, hold a null or one twice, or
    whose scores are not one finite number an item, falling.
    """
    items = F.col("item_ids")
    faults = [
        (items.isNull(), F.lit("item_ids is null")),
        (F.exists(items, lambda item: item.isNull()), F.lit("item_ids holds a null")),
        (F.size(F.array_distinct(items)) < F.size(items), F.lit("item_ids holds an item twice")),
    ]
    if "scores" in rows.columns:
        scores = F.col("scores")
        finite = F.forall(scores, lambda v: v.isNotNull() & ~F.isnan(v) & (F.abs(v) < F.lit(float("inf"))))
        faults += [
            (scores.isNull() | (F.size(scores) != F.size(items)), F.lit("scores are not as many as item_ids")),
            (~finite, F.lit("scores hold a null, NaN or infinity")),
            (F.reverse(F.array_sort(scores)) != scores, F.lit("scores do not fall")),
        ]
    return _validated(rows, "user_id", faults)


def write_rejected(validated: ValidatedRows, folder: str) -> int:
    """Write the rejected rows as Parquet, in place of earlier ones, and return their number."""
    validated.rejected.write.mode("overwrite").parquet(folder)
    return validated.rejected.sparkSession.read.parquet(folder).count()


def most_frequent_length(rows: DataFrame, vector: str) -> int:
    """Return the length that most vectors have, of equally frequent ones the shortest; 0 without a vector."""
    lengths = rows.where(F.size(vector) > 0).groupBy(F.size(vector).alias("length")).count()
    first = lengths.orderBy(F.desc("count"), "length").first()
    return int(first["length"]) if first is not None else 0


def vectors_of(column: pa.ListArray, dimension: int) -> np.ndarray:
    """Return lists of equal length as a (rows, d) float32 matrix, without a copy."""
    matrix: np.ndarray = column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), dimension)
    return matrix


def _validated(rows: DataFrame, key: str, faults: list[tuple[Column, Column]]) -> ValidatedRows:
    repeated = rows.where(F.col(key).isNotNull()).groupBy(key).count().where("count > 1").select(key)
    # Spark cannot know how few they are, and would shuffle all vectors.
    few = repeated.limit(BROADCAST_KEYS + 1).count() <= BROADCAST_KEYS
    marked = rows.join(
        repeated.withColumn("repeated", F.lit(True)).hint("broadcast" if few else "merge"), key, how="left"
    )
    every = [
        (F.col(key).isNull(), F.lit(f"{key} is null")),
        (F.col("repeated"), F.lit(f"{key} stands more than once")),
        *faults,
    ]
    first, *others = every
    reason = reduce(lambda chain, fault: chain.when(*fault), others, F.when(*first)).alias("reason")
    validated = marked.select(*rows.columns, reason)
    return ValidatedRows(
        validated.where("reason IS NULL").select(*rows.columns),
        validated.where("reason IS NOT NULL").select(F.col(key).alias("id"), "reason"),
    )


def _is_table(spark: SparkSession, name: str) -> bool:
    if "/" in name or name.endswith(".parquet"):
        return False
    return spark.catalog.tableExists(name)


def _as(meaning: str, found: T.DataType) -> tuple[str, bool]:
    element = found.elementType if isinstance(found, T.ArrayType) else None
    match meaning:
        case "id":
            return "string", isinstance(found, ID_TYPES)
        case "index":
            return "bigint", isinstance(found, INDEX_TYPES)
        case "ids":
            return "array<string>", isinstance(element, ID_TYPES)
        case _:
            return "array<float>", isinstance(element, NUMBER_TYPES)
