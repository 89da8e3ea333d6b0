"""Whom a latent fires for: how strongly, and what these users take more of than all users do."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.explorer.texts import FEATURE, cut

BINS = 16  # of an activation histogram; the last one is open
BINS_OF_MEAN = 4  # bins between 0 and the mean activation
SAMPLED_USERS = 20_000  # behind the features of users
COMPARED_FEATURES = 300  # the most frequent ones
SHOWN_FEATURES = 8


def activation_histograms(pairs: DataFrame, concepts: DataFrame) -> DataFrame:
    """Count the activations of each latent by size.

    Parameters
    ----------
    pairs : (latent_id, activation), one row a firing pair.
    concepts : (latent_id, mean_activation), one row a live latent; comes from the driver to every task.

    Returns
    -------
    DataFrame : (latent_id, histogram ARRAY<LONG>): `BINS` counts; a bin is mean_activation / `BINS_OF_MEAN` wide.
    """
    means = F.broadcast(concepts.select("latent_id", "mean_activation"))
    place = F.floor(F.col("activation") / F.col("mean_activation") * BINS_OF_MEAN).cast("int")
    counts = (
        pairs.join(means, "latent_id")
        .groupBy("latent_id", F.least(place, F.lit(BINS - 1)).alias("bin"))
        .agg(F.count(F.lit(1)).alias("users"))
        .groupBy("latent_id")
        .agg(F.map_from_entries(F.collect_list(F.struct("bin", "users"))).alias("counts"))
    )
    bins = F.sequence(F.lit(0), F.lit(BINS - 1))
    filled = F.transform(bins, lambda place: F.coalesce(F.element_at("counts", place), F.lit(0)))
    return counts.select("latent_id", filled.alias("histogram"))


def audiences(activations: DataFrame, recommendations: DataFrame, items: DataFrame) -> DataFrame:
    """Find the item features that users of each latent take more of than all users do.

    What a user takes is the share of the latest history that has the feature. Up to `SAMPLED_USERS` users are drawn by
    hash; features are the most frequent ones of the catalogue.

    Parameters
    ----------
    activations : (user_id, latent_ids, activations), one row a user.
    recommendations : (user_id, context_ids), one row a user.
    items : the catalogue.

    Returns
    -------
    DataFrame : (latent_id, rank, feature, share, of_all, users): mean shares, those of the largest difference first, at
        most `SHOWN_FEATURES` of each latent; users of the sample for whom it fires.
    """
    users = activations.count()  # of the metadata: files hold their number of rows
    every = max(1, users // SAMPLED_USERS)
    drawn = F.pmod(F.xxhash64(F.lit("explorer"), "user_id"), F.lit(every)) == 0
    features = items.select("item_id", F.explode(F.array_union("features", derived_features(items))).alias("feature"))
    common = features.groupBy("feature").agg(F.count(F.lit(1)).alias("n"))
    common = common.orderBy(F.desc("n"), "feature").limit(COMPARED_FEATURES).select("feature")
    taken = (
        recommendations.where(drawn)
        .select("user_id", F.explode("context_ids").alias("item_id"), F.size("context_ids").alias("length"))
        .join(features.join(F.broadcast(common), "feature"), "item_id")
        .groupBy("user_id", "feature")
        .agg((F.count(F.lit(1)) / F.first("length")).alias("share"))
    )
    pairs = activations.where(drawn).select("user_id", F.explode("latent_ids").alias("latent_id"))
    firing = pairs.groupBy("latent_id").agg(F.count(F.lit(1)).alias("audience_users"))
    drawn_users = activations.where(drawn).agg(F.count(F.lit(1)).alias("drawn"))
    of_all = taken.groupBy("feature").agg(F.sum("share").alias("total")).crossJoin(F.broadcast(drawn_users))
    of_all = of_all.select("feature", (F.col("total") / F.col("drawn")).alias("of_all"))
    shares = (
        pairs.join(taken, "user_id")
        .groupBy("latent_id", "feature")
        .agg(F.sum("share").alias("total"))
        .join(F.broadcast(firing), "latent_id")
        .join(F.broadcast(of_all), "feature")
        .withColumn("share", F.col("total") / F.col("audience_users"))
    )
    most = Window.partitionBy("latent_id").orderBy(F.desc(F.col("share") - F.col("of_all")), "feature")
    first = shares.withColumn("rank", F.row_number().over(most)).where(F.col("rank") <= SHOWN_FEATURES)
    return first.select(
        "latent_id",
        "rank",
        cut(F.col("feature"), FEATURE).alias("feature"),
        "share",
        "of_all",
        F.col("audience_users").alias("users"),
    )
