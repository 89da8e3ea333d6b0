"""Activation levels: how strongly a latent fires for a user, measured by the latent's own activations."""

from __future__ import annotations

from functools import reduce
from operator import add

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

LEVELS = 10
EXACT_USERS = 10_000  # firing users of a latent up to whom its levels are exact; about so many are sampled beyond


def firing_pairs(activations: DataFrame) -> DataFrame:
    """List each latent that fires for each user.

    Parameters
    ----------
    activations : (user_id, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user.

    Returns
    -------
    DataFrame : (user_id STRING, latent_id INT, activation FLOAT), one row a firing pair.
    """
    return activations.select("user_id", F.inline(F.arrays_zip("latent_ids", "activations"))).select(
        "user_id", F.col("latent_ids").alias("latent_id"), F.col("activations").alias("activation")
    )


def activation_levels(activations: DataFrame) -> DataFrame:
    """Discretise activations to levels 1-10 by deciles of the latent's positive activations (method.md section 3).

    ::

        level(l, u) = 1 + ⌊10 · |{v : 0 < z_vl < z_ul}| / |{v : z_vl > 0}|⌋        (RecSAE, arXiv 2411.06112)

    Equal activations share a level, and a latent that fires for one user only, or always alike, stays at level 1.

    The levels are those of nine edges, the activations of rank ⌈j n / 10⌉ among n: exactly for a latent that fires
    for up to 10,000 users. Of a more common latent the edges are those of about 10,000 users, drawn by hash: their
    ranks have a standard error of at most half a percent, and neither partitioning nor the order of rows matters.
    That takes a count (M rows are shuffled) and the sample (at most M times 10,000 pairs); the pairs themselves meet
    the edges, M rows, by broadcast and stay where they are.

    Parameters
    ----------
    activations : (user_id, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user.

    Returns
    -------
    DataFrame : (latent_id INT, user_id STRING, level INT), one row a firing pair.
    """
    pairs = firing_pairs(activations)
    level = reduce(add, ((F.col("activation") > F.col(f"edge_{j}")).cast("int") for j in range(1, LEVELS)), F.lit(1))
    # A left join, although every pair finds its edges: Spark then drops it wherever the level is not asked for.
    return pairs.join(F.broadcast(_edges(pairs)), "latent_id", "left").select(
        "latent_id", "user_id", level.cast("int").alias("level")
    )


def _edges(pairs: DataFrame) -> DataFrame:
    firing = pairs.groupBy("latent_id").agg(F.count(F.lit(1)).alias("firing"))
    drawn = F.pmod(F.xxhash64(F.lit("levels"), "user_id"), F.col("firing")) < EXACT_USERS
    sample = pairs.join(F.broadcast(firing), "latent_id", "inner").where(drawn)
    rising = sample.groupBy("latent_id").agg(F.sort_array(F.collect_list("activation")).alias("rising"))

    def edge(j: int) -> Column:
        rank = F.ceil(j * F.size("rising") / F.lit(LEVELS)).cast("int")
        return F.element_at("rising", rank).alias(f"edge_{j}")

    return rising.select("latent_id", *(edge(j) for j in range(1, LEVELS)))
