"""Evidence: which items a latent stands for, by the activations of the users that the items are linked to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.latent_runs import ArrowMap, latent_runs
from recsae_lib.concepts.levels import firing_pairs
from recsae_lib.errors import InputError

PRECISION_BITS = 36  # of an activation, below the largest of its latent; leaves room for the sum over 2^27 users
PAIRS_AT_ONCE = 2**21  # (user, item) pairs of one latent that are held before they are summed by item
USERS_OF_PIECE = 2**18  # firing users of a latent that are brought together in one task

_SUMMED = "latent_id int, item_hash long, steps long, users long, step double"


def link_latents_to_items(
    activations: DataFrame, linked: DataFrame, items_per_latent: int, users_of_piece: int = USERS_OF_PIECE
) -> DataFrame:
    """Sum each latent's activations over the users that an item is linked to (METHOD.md section 3; RecSAE 2411.06112).

    ::

        w_li = Σ_u z_ul · 1[i linked to u]          over the users in `activations`, the construct half

    Rows are brought together by latent and summed one latent at a time: a Python worker holds the sums of one latent
    (16 bytes an item) and no users × items or latents × items matrix is built. A latent that fires for very many users
    comes in pieces of about `users_of_piece` of them, drawn by hash, whose sums Spark adds up: what one task does is
    bounded, however many users there are. Activations are summed as whole multiples of 2^-36 of the latent's largest
    one, so that neither the order of rows nor pieces nor the partitioning can change a bit of the result.

    On that way an item is its 64-bit hash. Names are joined back to what is kept, and two items of one hash (a chance
    of 3 in a million for a catalogue of 10 million) are found there and refused, never added up.

    `activations` and `linked` are read twice: once for the sums, and before for the largest activation, after for the
    names.

    Parameters
    ----------
    activations : (user_id STRING, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user, the construct half.
    linked : (user_id STRING, item_ids ARRAY<STRING>), one row a user; an item that stands twice counts once.
    items_per_latent : items kept a latent, those of the largest weight, equal weights by item_id.
    users_of_piece : see above.

    Returns
    -------
    DataFrame : (latent_id INT, item_id STRING, weight DOUBLE, users LONG, rank INT); `users` are those behind `weight`.

    Raises
    ------
    InputError : (when executed) an activation is not a finite number, or two item ids have the same hash.
    """
    return _named(_summed(activations, linked, items_per_latent, users_of_piece), linked, items_per_latent)


def _summed(activations: DataFrame, linked: DataFrame, items_per_latent: int, users_of_piece: int) -> DataFrame:
    hashes = F.array_distinct(F.transform("item_ids", lambda item_id: F.xxhash64(item_id)))
    fired = (
        activations.join(linked.select("user_id", hashes.alias("item_hashes")), "user_id", how="inner")
        .select("user_id", "item_hashes", F.explode(F.arrays_zip("latent_ids", "activations")).alias("fired"))
        .select(
            F.col("fired.latent_ids").cast("int").alias("latent_id"),
            F.col("fired.activations").cast("double").alias("activation"),
            "item_hashes",
            "user_id",
        )
        .where("activation > 0")
        .join(F.broadcast(_scales(activations, users_of_piece)), "latent_id", how="inner")
    )
    sums = (
        fired.repartition("latent_id", F.pmod(F.xxhash64("user_id"), F.col("pieces")))
        .sortWithinPartitions("latent_id")
        .select("latent_id", "largest", "pieces", "activation", "item_hashes")
        .mapInArrow(sum_by_item(items_per_latent), _SUMMED)
    )
    of_items = sums.groupBy("latent_id", "item_hash", "step").agg(
        (F.sum("steps").cast("double") * F.col("step")).alias("weight"), F.sum("users").alias("users")
    )
    # All that are equal to the last one stay: the hash must not decide between them. Each task leaves its largest ones.
    largest = F.rank().over(Window.partitionBy("latent_id").orderBy(F.desc("weight")))
    kept = of_items.withColumn("place", largest).where(F.col("place") <= items_per_latent)
    return kept.select("latent_id", "item_hash", "weight", "users")


def _scales(activations: DataFrame, users_of_piece: int) -> DataFrame:
    """(latent_id, largest DOUBLE, pieces LONG) of each latent that fires: its largest activation, NaN where there is
    one, and in how many pieces it comes.
    """
    pieces = F.ceil(F.count(F.lit(1)) / F.lit(users_of_piece)).cast("long").alias("pieces")
    largest = F.max("activation").cast("double").alias("largest")
    return firing_pairs(activations).where("activation > 0").groupBy("latent_id").agg(largest, pieces)


def _named(summed: DataFrame, linked: DataFrame, items_per_latent: int) -> DataFrame:
    names = (
        linked.select(F.explode("item_ids").alias("item_id"))
        .distinct()
        .select("item_id", F.xxhash64("item_id").alias("item_hash"))
    )
    of_latent = Window.partitionBy("latent_id")
    namesakes = F.count(F.lit(1)).over(Window.partitionBy("latent_id", "item_hash"))
    collision = F.concat(
        F.lit("InputError: The item id "),
        F.col("item_id"),
        F.lit(" has the same 64-bit hash as another one. Give one of the two items another id."),
    )
    return (
        summed.join(names, "item_hash", how="inner")
        .repartition("latent_id")  # serves both windows
        .withColumn("item_id", F.when(namesakes > 1, F.raise_error(collision)).otherwise(F.col("item_id")))
        .withColumn("rank", F.row_number().over(of_latent.orderBy(F.desc("weight"), "item_id")))
        .where(F.col("rank") <= items_per_latent)
        .select("latent_id", "item_id", "weight", "users", "rank")
    )


def sum_by_item(items_per_latent: int) -> ArrowMap:
    """Make the function that sums activations by item, one latent at a time.

    Batches come with columns latent_id, largest and pieces (of the latent), activation and item_hashes (list<int64>,
    each once), sorted by latent_id, and leave as `_SUMMED`: weights are steps · step. Of a latent that comes whole
    these are the `items_per_latent` items of the largest weight and all that are equal to the last of them, of one that
    comes in pieces all items.
    """

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for latent, rows in latent_runs(batches):
            (hashes, steps, users), step, whole = _sums_of_latent(latent, rows)
            if whole and len(steps) > items_per_latent:
                weights = steps.astype(np.float64)
                kept = weights >= np.partition(weights, -items_per_latent)[-items_per_latent]
                hashes, steps, users = hashes[kept], steps[kept], users[kept]
            same = np.full(len(hashes), latent, dtype=np.int32), np.full(len(hashes), step)
            yield pa.RecordBatch.from_arrays(
                [pa.array(column) for column in (same[0], hashes, steps, users, same[1])],
                names=["latent_id", "item_hash", "steps", "users", "step"],
            )

    return run


def _sums_of_latent(
    latent: int, rows: Iterator[pa.RecordBatch]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], float, bool]:
    """Item hashes, steps and users of one latent, each hash once; the size of a step; and whether it comes whole."""
    step, whole = 0.0, True
    held, pairs, limit = [], 0, PAIRS_AT_ONCE
    for batch in rows:
        if not step:
            largest, whole = batch.column("largest")[0].as_py(), batch.column("pieces")[0].as_py() == 1
            if not np.isfinite(largest):
                raise InputError(
                    f"Latent {latent} has an activation that is no finite number", "Run encode_latents again"
                )
            step = float(np.ldexp(1.0, int(np.frexp(largest)[1]) - PRECISION_BITS))
        lists = batch.column("item_hashes")
        lengths = np.diff(lists.offsets.to_numpy())
        steps = np.rint(batch.column("activation").to_numpy() / step).astype(np.int64)
        hashes = lists.flatten().to_numpy()
        held.append((hashes, np.repeat(steps, lengths), np.ones(len(hashes), dtype=np.int64)))
        pairs += len(hashes)
        if pairs > limit:
            held = [_sum_by_hash(held)]
            pairs, limit = 0, max(PAIRS_AT_ONCE, len(held[0][0]))
    return _sum_by_hash(held), step, whole


def _sum_by_hash(held: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hashes, steps, users = (np.concatenate(column) for column in zip(*held, strict=True))
    codes, distinct = pd.factorize(hashes)
    totals = np.zeros((2, len(distinct)), dtype=np.int64)
    np.add.at(totals[0], codes, steps)
    np.add.at(totals[1], codes, users)
    return distinct, totals[0], totals[1]
