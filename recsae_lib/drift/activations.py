"""Similarity of latents of SAEs that read different representation spaces: how they fire for the same users."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.matching import NEAREST, SIMILARITY_STEPS, SimilarPairs, nearest_pairs
from recsae_lib.platform.spark.frames import free, keep


def similar_activations(previous: DataFrame, present: DataFrame, users: int, minimum: float) -> SimilarPairs:
    """Find the pairs of latents whose activations have a Pearson correlation of `minimum` or more over common users.

    ::

        r_pl = (Σ_u z_up z_ul / n − mean(z_p) mean(z_l)) / (sd(z_p) sd(z_l))        n users of both audits

    Sums run over the at most k · k' pairs that are active for a user: no users × latents or latents × latents matrix
    is ever made. A latent that fires for all common users alike, or for none, is like no other.

    Parameters
    ----------
    previous, present : (user_id, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user.
    users : about so many of the users of `present` are drawn by hash; all where there are fewer.
    minimum : above 0.

    Returns
    -------
    SimilarPairs : the `NEAREST` of each earlier latent at most; none without common users.
    """
    number = F.broadcast(present.agg(F.count(F.lit(1)).alias("number")))
    drawn = F.pmod(F.xxhash64(F.lit("drift"), "user_id"), F.col("number")) < users
    then, now = (rows.crossJoin(number).where(drawn) for rows in (previous, present))  # only those are shuffled
    common = keep(
        _active(now, "latent_id", "z")
        .join(_active(then, "previous_id", "z_previous"), "user_id", how="inner")
        .select("latent_id", "z", "previous_id", "z_previous")
    )
    total = common.count()
    products = (
        common.select("previous_id", "z_previous", F.explode(F.arrays_zip("latent_id", "z")).alias("now"))
        .select("now", F.explode(F.arrays_zip("previous_id", "z_previous")).alias("then"))
        .groupBy(F.col("then.previous_id").alias("previous_id"), F.col("now.latent_id").alias("latent_id"))
        .agg(F.sum(F.col("now.z") * F.col("then.z_previous")).alias("product"))
    )
    covariance = F.col("product") / total - F.col("mean_previous") * F.col("mean")
    correlations = (
        products.join(F.broadcast(_moments(common, "previous_id", "z_previous", total, "_previous")), "previous_id")
        .join(F.broadcast(_moments(common, "latent_id", "z", total, "")), "latent_id")
        .select("previous_id", "latent_id", (covariance / F.col("sd_previous") / F.col("sd")).alias("similarity"))
        .where(F.col("similarity") >= minimum - 0.5 / SIMILARITY_STEPS)
    )
    most_similar = Window.partitionBy("previous_id").orderBy(
        -F.round("similarity", 6), F.col("previous_id") != F.col("latent_id"), "latent_id"
    )
    nearest = correlations.withColumn("place", F.row_number().over(most_similar)).where(F.col("place") <= NEAREST)
    found: pd.DataFrame = nearest.select("previous_id", "latent_id", "similarity").toPandas()
    free(common)
    previous_ids, latent_ids = (found[name].to_numpy(np.int64) for name in ("previous_id", "latent_id"))
    return nearest_pairs(previous_ids, latent_ids, found["similarity"].to_numpy(np.float64))


def _active(activations: DataFrame, ids: str, values: str) -> DataFrame:
    return activations.select(
        "user_id", F.col("latent_ids").alias(ids), F.col("activations").cast("array<double>").alias(values)
    )


def _moments(common: DataFrame, ids: str, values: str, total: int, suffix: str) -> DataFrame:
    """Mean and standard deviation of each latent over all common users; those of none or equal activations left out."""
    pair, z = F.col("pair"), F.col(f"pair.{values}")
    mean = F.sum(z) / total
    variance = F.greatest(F.sum(z * z) / total - mean * mean, F.lit(0.0))
    return (
        common.select(F.explode(F.arrays_zip(ids, values)).alias("pair"))
        .groupBy(pair[ids].alias(ids))
        .agg(mean.alias(f"mean{suffix}"), F.sqrt(variance).alias(f"sd{suffix}"))
        .where(F.col(f"sd{suffix}") > F.lit(1e-6) * F.col(f"mean{suffix}"))
    )
