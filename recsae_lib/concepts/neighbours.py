"""The nearest other units of each unit, by the items that they are linked to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.dictionaries import PLACE_BITS, dictionary_of
from recsae_lib.concepts.latent_runs import latent_runs

PROFILE_WIDTH = 1024  # numbers that stand for the items of a unit; a cosine is off by some 1/√PROFILE_WIDTH
UNITS_OF_BLOCK = 4096  # units whose cosines with those of one block are taken by one task
COSINES_AT_ONCE = 2**22  # held by a task
COSINE_STEPS = 1_000_000  # cosines closer than a millionth count as equal: the last bits differ between machines
# Sums are taken over whole multiples of these, so that the order of rows cannot change a bit of them.
WEIGHT_STEPS = 2.0**32  # in the largest weight of the unit
SHARE_STEPS = 2.0**40  # in the whole evidence of a unit

_NEAREST = "latent_id int, neighbour_id int, closeness long"


def neighbours_of(latent_items: DataFrame, number: int) -> DataFrame:
    """Find the nearest other units of each unit by the cosine of their evidence (METHOD.md section 6; ours).

    ::

        s_li = w_li / Σ_i w_li          p_i = Σ_l s_li          v_li = s_li / √p_i
        cos(l, m) = ⟨v_l, v_m⟩ / (‖v_l‖ ‖v_m‖)

    An item that all units are linked to counts for less (the metric of correspondence analysis). What is near is
    measured alike for units of every kind, and so hard negatives are equally hard for all of them. The cosine of
    decoder rows is not: dimensions of x stand at right angles to each other however much they have in common, and
    random directions nearly so, while trained latents crowd where the users are; by it the negatives of a raw dimension
    were no harder than random ones, and baselines seemed to be interpretable where the same negatives as the SAE's show
    that they are not.

    The items of a unit are hashed, with a sign, to `PROFILE_WIDTH` places, which keeps inner products on average
    (Weinberger et al. 2009). A task takes the cosines of two blocks of units: the units × units matrix never stands
    whole. The profiles, 4 KB a unit, are shuffled once for each block of units. Only the neighbours come to the driver.

    Parameters
    ----------
    latent_items : (latent_id INT, item_id, weight DOUBLE), see `link_latents_to_items`; a unit's neighbours are of its
        own dictionary (`concepts.dictionaries`).
    number : neighbours wanted a unit; fewer where there are not so many others.

    Returns
    -------
    DataFrame : (latent_id INT, neighbour_id INT, rank INT), rank 1 is the nearest; equal cosines (to a millionth) by
        neighbour_id. A unit without evidence has no neighbours and is nobody's.
    """
    nearest_first = Window.partitionBy("latent_id").orderBy(F.desc("closeness"), "neighbour_id")
    rows: pd.DataFrame = (
        candidates_of(latent_items, number)
        .withColumn("rank", F.row_number().over(nearest_first))
        .where(F.col("rank") <= number)
        .select("latent_id", "neighbour_id", "rank")
        .toPandas()  # `number` rows a unit
    )
    return latent_items.sparkSession.createDataFrame(rows, "latent_id int, neighbour_id int, rank int")


def candidates_of(latent_items: DataFrame, number: int) -> DataFrame:
    """Find the `number` nearest other units of each unit in each block of units (`neighbours_of`).

    Returns
    -------
    DataFrame : (latent_id INT, neighbour_id INT, closeness LONG), in millionths of a cosine.
    """

    def block_of(unit: Column) -> Column:
        return F.floor(unit / UNITS_OF_BLOCK).cast("int")

    dictionary = dictionary_of().alias("dictionary")
    ends = latent_items.groupBy(dictionary).agg(block_of(F.max("latent_id")).alias("last"))
    block, other = block_of(F.col("latent_id")), F.col("other")
    first = block_of(F.shiftleft("dictionary", PLACE_BITS))
    return (
        _profiles(latent_items)
        .withColumn("dictionary", dictionary_of())
        .join(F.broadcast(ends), "dictionary")
        .select("*", F.explode(F.sequence(first, F.col("last"))).alias("other"))
        .select("latent_id", "profile", F.least(block, other).alias("left"), F.greatest(block, other).alias("right"))
        .groupBy("left", "right")
        .applyInPandas(_nearest_of_blocks(number), _NEAREST)
    )


def _profiles(latent_items: DataFrame) -> DataFrame:
    """The hashed v_l of each unit with evidence: (latent_id, profile BINARY), PROFILE_WIDTH numbers of 32 bits."""
    of_unit, of_item = Window.partitionBy("latent_id"), Window.partitionBy(dictionary_of(), "item")
    steps = F.rint(F.col("weight") / F.max("weight").over(of_unit) * WEIGHT_STEPS).cast("long")
    return (
        latent_items.where("weight > 0")
        .select("latent_id", F.xxhash64("item_id").alias("item"), steps.alias("steps"))
        .withColumn("share", F.rint(F.col("steps") / F.sum("steps").over(of_unit) * SHARE_STEPS))
        .select("latent_id", "item", "share", F.sum(F.col("share").cast("long")).over(of_item).alias("commonness"))
        .where("share > 0")
        .select("latent_id", "item", (F.col("share") / F.sqrt("commonness")).alias("value"))
        .repartition("latent_id")
        .sortWithinPartitions("latent_id", "item")
        .mapInArrow(_hash_units, "latent_id int, profile binary")
    )


def _hash_units(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for latent, rows in latent_runs(batches):
        unit = pa.Table.from_batches(list(rows))
        profile = hashed_profile(unit.column("item").to_numpy(), unit.column("value").to_numpy())
        if not profile.any():  # every item met its opposite
            continue
        yield pa.RecordBatch.from_arrays(
            [pa.array([latent], pa.int32()), pa.array([profile.tobytes()])], names=["latent_id", "profile"]
        )


def hashed_profile(items: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums of signed values in the places of their items, (PROFILE_WIDTH,) float32, of norm 1.

    Parameters
    ----------
    items : (items,) int64 hashes, each once; sorted, so that sums do not depend on the order in which rows come.
    values : (items,) float64.
    """
    signs = np.where((items >> 32) & 1, 1.0, -1.0)
    profile = np.bincount(items % PROFILE_WIDTH, values * signs, minlength=PROFILE_WIDTH)
    return (profile / max(float(np.linalg.norm(profile)), 1e-300)).astype(np.float32)


def _nearest_of_blocks(number: int) -> Callable[[Any, pd.DataFrame], pd.DataFrame]:
    def run(key: Any, rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sort_values("latent_id")
        units = rows["latent_id"].to_numpy()
        vectors = np.frombuffer(b"".join(rows["profile"]), dtype=np.float32).reshape(len(rows), PROFILE_WIDTH)
        left, right = (units // UNITS_OF_BLOCK == block for block in key)
        sides = [(left, right)] if key[0] == key[1] else [(left, right), (right, left)]
        found = [
            nearest_units(vectors[own], units[own], vectors[others], units[others], number) for own, others in sides
        ]
        return pd.concat(found)

    return run


def nearest_units(
    vectors: np.ndarray, units: np.ndarray, other_vectors: np.ndarray, others: np.ndarray, number: int
) -> pd.DataFrame:
    """Return of each unit the nearest of the others: (latent_id, neighbour_id, closeness), in no order.

    Parameters
    ----------
    vectors, units : (units, width) of norm 1, and their ids.
    other_vectors, others : the same of those that are candidates, by rising id; a unit is not its own neighbour.
    number : largest number for a unit.

    Returns
    -------
    DataFrame : closeness is the cosine in steps of a millionth; equal ones by id.
    """
    found = min(number, len(others))
    frames = []
    step = max(1, COSINES_AT_ONCE // max(len(others), 1))
    for start in range(0, len(units) if found else 0, step):
        own = units[start : start + step]
        # One integer orders by falling cosine, then by place, and no two are alike; the unit itself comes last.
        order = np.rint((vectors[start : start + step] @ other_vectors.T) * -COSINE_STEPS).astype(np.int64)
        order *= len(others)
        order += np.arange(len(others))
        _, row, place = np.intersect1d(own, others, assume_unique=True, return_indices=True)
        order[row, place] = np.iinfo(np.int64).max
        nearest = np.partition(order, found - 1, axis=1)[:, :found]
        distance, places = np.divmod(nearest, len(others))
        frames.append(
            pd.DataFrame(
                {
                    "latent_id": np.repeat(own, found),
                    "neighbour_id": others[places].ravel(),
                    "closeness": -distance.ravel(),
                }
            )[(nearest < np.iinfo(np.int64).max).ravel()]
        )
    if not frames:
        return pd.DataFrame(columns=["latent_id", "neighbour_id", "closeness"], dtype=np.int64)
    return pd.concat(frames)
