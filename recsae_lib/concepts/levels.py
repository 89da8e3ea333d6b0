"""For whom a latent fires, and how strongly: levels of its activation, measured by its own activations."""

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


def live_latents(activations: DataFrame) -> DataFrame:
    """The latents that fire for anybody: (latent_id INT), one row each.

    Parameters
    ----------
    activations : (latent_ids ARRAY<INT>, …), one row a user.
    """
    return activations.select(F.explode("latent_ids").alias("latent_id")).distinct()


def level_edges(activations: DataFrame) -> DataFrame:
    """Find the nine activations of each latent between which its levels lie: those of rank ⌈j n / 10⌉ among n.

    They are exact for a latent that fires for up to 10,000 users. Of a more common latent they are those of about
    10,000 users, drawn by hash: their ranks have a standard error of at most half a percent, and neither partitioning
    nor the order of rows matters. That takes a count (M rows are shuffled) and the sample (at most M times 10,000
    pairs). The edges, M rows, are computed before this returns and come from the driver wherever they are used.

    Parameters
    ----------
    activations : (user_id STRING, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user.

    Returns
    -------
    DataFrame : (latent_id INT, edge_1 … edge_9 FLOAT), one row a latent that fires for anybody.
    """
    pairs = firing_pairs(activations)
    firing = pairs.groupBy("latent_id").agg(F.count(F.lit(1)).alias("firing"))
    drawn = F.pmod(F.xxhash64(F.lit("levels"), "user_id"), F.col("firing")) < EXACT_USERS
    sample = pairs.join(F.broadcast(firing), "latent_id", "inner").where(drawn)
    rising = sample.groupBy("latent_id").agg(F.sort_array(F.collect_list("activation")).alias("rising"))

    def edge(j: int) -> Column:
        rank = F.ceil(j * F.size("rising") / F.lit(LEVELS)).cast("int")
        return F.element_at("rising", rank).alias(f"edge_{j}")

    edges = rising.select("latent_id", *(edge(j) for j in range(1, LEVELS)))
    return activations.sparkSession.createDataFrame(edges.toPandas(), edges.schema)


def activation_levels(activations: DataFrame, edges: DataFrame) -> DataFrame:
    """Discretise activations to levels 1-10 by deciles of the latent's positive activations (METHOD.md section 3).

    ::

        level(l, u) = 1 + ⌊10 · |{v : 0 < z_vl < z_ul}| / |{v : z_vl > 0}|⌋    (ours; RecSAE: of all latents together)

    Equal activations share a level, and a latent that fires for one user only, or always alike, stays at level 1.
    The pairs meet the edges, M rows, by broadcast and stay where they are.

    Parameters
    ----------
    activations : (user_id, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>, …), one row a user.
    edges : see `level_edges`.

    Returns
    -------
    DataFrame : the columns of `activations`, latent_id INT and level INT; one row a firing pair.
    """
    level = reduce(add, ((F.col("activation") > F.col(f"edge_{j}")).cast("int") for j in range(1, LEVELS)), F.lit(1))
    return (
        activations.select("*", F.inline(F.arrays_zip("latent_ids", "activations")).alias("latent_id", "activation"))
        .join(F.broadcast(edges), "latent_id", "inner")
        .select(*activations.columns, "latent_id", level.cast("int").alias("level"))
    )
