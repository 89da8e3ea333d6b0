"""The mean item vector of each item feature, summed up by Spark in parts of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.recommenders.inputs import known_items
from recsae_lib.tuning.item_vectors import ItemVectors, worker_vectors

BLOCK_FEATURES = 256  # whose sums are put together by one task
_PARTS = "feature int, part int, total array<double>"


@dataclass(frozen=True)
class FeatureVectors:
    """Item features by kind and name, and where the items lie that carry them.

    Parameters
    ----------
    names : (F,) of the features.
    kinds : (F,) ``feature`` of the catalogue, or ``derived``.
    counts : (F,) int64, items that carry it, among those that the recommender knows.
    means : (F, d) float64, mean vector of these items.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    counts: np.ndarray
    means: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def feature_vectors(items: DataFrame, vectors: ItemVectors, minimum_items: int) -> FeatureVectors:
    """Average the vectors of the items that carry each item feature.

    Tasks map the item vectors and add up those of their items; only features come to the driver, F × d numbers.

    Parameters
    ----------
    items : (item_id, features ARRAY<STRING>, maybe derived_features), one row an item. Items that the recommender does
        not know are left out.
    minimum_items : items that a feature needs. A feature of all items is left out.
    """
    spark = items.sparkSession
    count, dimension = vectors.read().shape
    known = items.join(known_items(spark, vectors.model), "item_id", "inner")
    carried = known.select("item_index", F.explode(_features(items)).alias("carried")).select("item_index", "carried.*")
    counted: pd.DataFrame = (
        carried.groupBy("kind", "name")
        .agg(F.count(F.lit(1)).alias("items"))
        .where((F.col("items") >= minimum_items) & (F.col("items") < count))
        .toPandas()
    )
    counted = counted.sort_values(["kind", "name"], ascending=[False, True], ignore_index=True)
    names, kinds = tuple(counted["name"]), tuple(counted["kind"])
    counts = counted["items"].to_numpy(np.int64)
    if not names:
        return FeatureVectors((), (), counts, np.zeros((0, dimension)))
    shipped, features = vectors.ship(spark), len(names)

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found, totals = worker_vectors(shipped), np.zeros((features, dimension))
        there = np.zeros(features, dtype=bool)
        for batch in batches:
            item, feature = (batch.column(name).to_numpy() for name in ("item_index", "feature"))
            places, row = np.unique(feature, return_inverse=True)
            ones = sparse.csr_matrix((np.ones(len(row)), (row, np.arange(len(row)))))
            totals[places] += ones @ found[item].astype(np.float64)
            there[places] = True
        yield _as_batch(np.flatnonzero(there), totals[there])

    numbers = pd.DataFrame({"kind": kinds, "name": names, "feature": np.arange(features, dtype=np.int32)})
    numbered = F.broadcast(spark.createDataFrame(numbers, "kind string, name string, feature int"))
    parts = carried.join(numbered, ["kind", "name"], "inner").select("item_index", "feature")
    totals: pd.DataFrame = (
        parts.mapInArrow(add_up, _PARTS)
        .groupBy(F.floor(F.col("feature") / BLOCK_FEATURES))
        .applyInPandas(_total, _PARTS)
        .toPandas()
    )
    means = np.zeros((features, dimension))
    means[totals["feature"].to_numpy()] = np.stack(totals["total"].to_list())
    return FeatureVectors(names, kinds, counts, means / counts[:, None])


def _features(items: DataFrame) -> Column:
    """Features as `concepts.item_terms` tells them apart: each once an item, no nulls."""

    def of_kind(kind: str, features: Column) -> Column:
        return F.transform(features, lambda name: F.struct(F.lit(kind).alias("kind"), name.alias("name")))

    own = F.array_except(F.array_distinct("features"), F.array(F.lit(None).cast("string")))
    own = F.coalesce(own, F.array().cast("array<string>"))
    return F.concat(of_kind("feature", own), of_kind("derived", F.array_distinct(derived_features(items))))


def _as_batch(features: np.ndarray, totals: np.ndarray) -> pa.RecordBatch:
    task = TaskContext.get()
    part = np.full(len(features), 0 if task is None else task.partitionId(), dtype=np.int32)
    offsets = np.arange(len(features) + 1, dtype=np.int32) * totals.shape[1]
    columns = [pa.array(features, pa.int32()), pa.array(part), pa.ListArray.from_arrays(offsets, totals.ravel())]
    return pa.RecordBatch.from_arrays(columns, names=["feature", "part", "total"])


def _total(key: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Sum up the parts of each feature, always in one order: floats are not associative."""
    rows = rows.sort_values(["feature", "part"], ignore_index=True)
    totals = np.stack(rows["total"].to_list()) if len(rows) else np.zeros((0, 1))
    features, first = np.unique(rows["feature"].to_numpy(), return_index=True)
    summed = np.add.reduceat(totals, first, axis=0) if len(rows) else totals
    return pd.DataFrame({"feature": features.astype(np.int32), "part": np.int32(0), "total": list(summed)})
