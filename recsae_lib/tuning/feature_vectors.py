"""The mean item vector of each item feature, summed up by Spark in parts of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.recommenders.inputs import known_items
from recsae_lib.tuning.item_vectors import ItemVectors, worker_vectors

BLOCK_FEATURES = 256  # whose sums are put together by one task
KINDS = ("feature", "derived")
_PARTS = "feature int, part int, items bigint, total array<double>"


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
    carried = items.select("item_id", *(features.alias(kind) for kind, features in _features(items).items()))
    names = _frequent(carried, minimum_items)
    if not names:
        return FeatureVectors((), (), np.zeros(0, dtype=np.int64), np.zeros((0, dimension)))
    shipped = vectors.ship(spark)

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts, totals = np.zeros(len(names), dtype=np.int64), np.zeros((len(names), dimension))
        for batch in batches:
            of_items = worker_vectors(shipped)[batch.column("item_index").to_numpy()].astype(np.float64)
            item, feature = _pairs(batch, names)
            places, row = np.unique(feature, return_inverse=True)
            ones = sparse.csr_matrix((np.ones(len(row)), (row, item)), (len(places), len(of_items)))
            totals[places] += ones @ of_items
            counts += np.bincount(feature, minlength=len(names))
        yield _as_batch(counts, totals)

    known = carried.join(known_items(spark, vectors.model), "item_id", "inner").select("item_index", *KINDS)
    parts: pd.DataFrame = (
        known.mapInArrow(add_up, _PARTS)
        .groupBy(F.floor(F.col("feature") / BLOCK_FEATURES))
        .applyInPandas(_total, _PARTS)
        .where((F.col("items") >= minimum_items) & (F.col("items") < count))
        .toPandas()
    )
    parts = parts.sort_values("feature", ignore_index=True)
    kinds, kept = zip(*(names[place] for place in parts["feature"]), strict=True) if len(parts) else ((), ())
    counts = parts["items"].to_numpy(np.int64)
    totals = np.array(parts["total"].to_list()).reshape(-1, dimension)
    return FeatureVectors(kept, kinds, counts, totals / counts[:, None])


def _features(items: DataFrame) -> dict[str, Column]:
    """Features by kind, as `concepts.item_terms` tells them apart: each once an item, no nulls."""
    own = F.array_except(F.array_distinct("features"), F.array(F.lit(None).cast("string")))
    return {
        "feature": F.coalesce(own, F.array().cast("array<string>")),
        "derived": F.array_distinct(derived_features(items)),
    }


def _frequent(carried: DataFrame, minimum_items: int) -> list[tuple[str, str]]:
    """(kind, name) of the features that may have enough items, those that the recommender does not know included."""
    found: list[tuple[str, str]] = []
    for kind in KINDS:
        counts = carried.select(F.explode(kind).alias("name")).groupBy("name").agg(F.count(F.lit(1)).alias("items"))
        found += sorted((kind, row["name"]) for row in counts.where(F.col("items") >= minimum_items).collect())
    return found


def _pairs(batch: pa.RecordBatch, names: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a batch, and places among the names, of each feature of each item."""
    rows, places = [], []
    for kind in KINDS:
        lists = batch.column(kind)
        first = next((place for place, (of_kind, _) in enumerate(names) if of_kind == kind), 0)
        known = pa.array([name for of_kind, name in names if of_kind == kind], pa.string())
        found = pc.index_in(lists.flatten(), known)
        there = found.is_valid().to_numpy(zero_copy_only=False)
        rows.append(pc.list_parent_indices(lists).to_numpy()[there])
        places.append(found.drop_null().to_numpy() + first)
    return np.concatenate(rows), np.concatenate(places)


def _as_batch(counts: np.ndarray, totals: np.ndarray) -> pa.RecordBatch:
    task, there = TaskContext.get(), np.flatnonzero(counts)
    part = np.full(len(there), 0 if task is None else task.partitionId(), dtype=np.int32)
    offsets = np.arange(len(there) + 1, dtype=np.int32) * totals.shape[1]
    summed = pa.ListArray.from_arrays(offsets, pa.array(totals[there].ravel()))
    columns = [pa.array(there, pa.int32()), pa.array(part), pa.array(counts[there]), summed]
    return pa.RecordBatch.from_arrays(columns, names=["feature", "part", "items", "total"])


def _total(key: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Sum up the parts of each feature, always in one order: floats are not associative."""
    rows = rows.sort_values(["feature", "part"], ignore_index=True)
    features, first = np.unique(rows["feature"].to_numpy(), return_index=True)
    counts = np.add.reduceat(rows["items"].to_numpy(), first)
    totals = np.add.reduceat(np.stack(rows["total"].to_list()), first, axis=0)
    return pd.DataFrame({"feature": features, "part": np.int32(0), "items": counts, "total": list(totals)})
