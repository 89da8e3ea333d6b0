"""Verification cases: on which users the description of a latent is tried."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.config import VerificationSettings
from recsae_lib.platform.spark.frames import local_frame

SAMPLE_USERS = 1_000_000  # users, drawn by hash, from whom negatives are taken; everybody where there are fewer
POOL_USERS = 4_096  # users, drawn by hash, from whom the random negatives of all latents are taken
CANDIDATES_PER_NEIGHBOUR = 4  # times n: users of one neighbour that are looked at, as some fire the latent as well
GROUP = ["construct", "latent_id"]  # cases are drawn of each latent in each half


def select_cases(
    levels: DataFrame,
    users: DataFrame,
    neighbours: DataFrame,
    per_kind: int,
    settings: VerificationSettings,
    seed: int,
) -> DataFrame:
    """Draw n positive and n negative users of each half for each latent (METHOD.md section 6; RecSAE 2411.06112).

    Positives are users for whom the latent fires at level >= `minimum_level`; negatives are users for whom it does not
    fire at all, half of them random and half hard (they fire one of the nearest other latents). Where one of the two
    is short of n, the other is cut to the same number, so that always saying "fires" is right for half of the cases;
    where one sort of negatives is short, the other fills up, and of an odd number the random ones are one more.
    A latent without a positive or without a negative in a half has no cases there, and no user stands twice for one
    latent. The halves are drawn in the same pass, and have nothing to do with each other.

    Everybody is drawn by the order of a seeded hash, not by activation (the reference takes the ten strongest): the
    score then holds for all users that the latent fires for. Negatives come from a hash sample of at most 1,000,000
    users of the half, the random ones from 4,096 of those, each latent starting at a place of its own; no users x
    latents set is built, and neither partitioning nor the order of rows matters. The 4,096 are drawn before this
    returns, and come from the driver.

    Parameters
    ----------
    levels : (construct BOOLEAN, user_id STRING, latent_ids ARRAY<INT>, latent_id INT, level INT), the firing pairs;
        `latent_ids` are all latents that fire for the user.
    users : (construct BOOLEAN, user_id STRING), all users, once each.
    neighbours : (latent_id INT, neighbour_id INT), the nearest other latents.
    per_kind : n, largest number of positives and of negatives a latent and half.
    settings : `minimum_level` is read.
    seed : seed of the hashes.

    Returns
    -------
    DataFrame : (construct, latent_id INT, user_id STRING, kind STRING positive|random|hard, fires BOOLEAN).
    """
    sampled = _sampled(users, seed)
    pools = _pools(users.where(sampled), seed)
    fired = levels.where(sampled)
    in_pool = F.broadcast(pools.select("construct", F.explode("pool").alias("user_id")))
    fired_in_pool = (
        fired.select(*GROUP, "user_id")
        .join(in_pool, ["construct", "user_id"], "left_semi")
        .groupBy(*GROUP)
        .agg(F.collect_set("user_id").alias("fired_in_pool"))
    )
    drawn = (
        _positives(levels, per_kind, settings.minimum_level, seed)
        .join(_hard(fired, neighbours, per_kind, seed), GROUP, "left")
        .join(fired_in_pool, GROUP, "left")
        .join(F.broadcast(pools), "construct", "inner")
        .select(*GROUP, "positives", _or_none("hard").alias("hard"), _random(2 * per_kind, seed).alias("random"))
        .select(*GROUP, "positives", "hard", F.slice(F.array_except("random", "hard"), 1, per_kind).alias("random"))
    )
    cases = F.least(F.size("positives"), F.size("hard") + F.size("random"))
    hard = F.least(F.size("hard"), F.greatest(F.floor(cases / 2).cast("int"), cases - F.size("random")))
    shares = F.concat(
        _cases_of("positives", cases, "positive"),
        _cases_of("random", cases - hard, "random"),
        _cases_of("hard", hard, "hard"),
    )
    return drawn.select(*GROUP, F.explode(shares).alias("case")).select(*GROUP, "case.*")


def _hash(seed: int, purpose: str, *columns: str) -> Column:
    return F.xxhash64(F.lit(purpose), F.lit(seed), *columns)


def _sampled(users: DataFrame, seed: int) -> Column:
    """Say whether a user is in the sample of the half; the users of both are counted for it."""
    counts = users.groupBy("construct").agg(F.count(F.lit(1)).alias("number")).collect()  # at most two rows
    number = {row["construct"]: row["number"] for row in counts}
    of_half = F.when(F.col("construct"), number.get(True, 1)).otherwise(number.get(False, 1))
    return F.pmod(_hash(seed, "sample", "user_id"), of_half) < SAMPLE_USERS


def _pools(sampled: DataFrame, seed: int) -> DataFrame:
    """Of each half an array of the POOL_USERS users whose hashes are smallest, in that order: two rows at most."""
    place = F.struct(_hash(seed, "pool", "user_id").alias("place"), "user_id")
    rows = (
        sampled.select("construct", place.alias("drawn"))
        .withColumn("rank", F.row_number().over(Window.partitionBy("construct").orderBy("drawn")))
        .where(F.col("rank") <= POOL_USERS)
        .groupBy("construct")
        .agg(F.sort_array(F.collect_list("drawn"))["user_id"].alias("pool"))
        .collect()
    )
    return local_frame(sampled.sparkSession, rows, "construct boolean, pool array<string>")


def _first_by_hash(pairs: DataFrame, most: int, purpose: str, seed: int, *columns: str) -> DataFrame:
    """Of each latent and half the `most` users of smallest hash: (construct, latent_id, user_id, place from 1)."""
    by_hash = Window.partitionBy(*GROUP).orderBy(_hash(seed, purpose, "latent_id", "user_id"), "user_id")
    ranked = pairs.select(*GROUP, "user_id", *columns, F.row_number().over(by_hash).alias("place"))
    return ranked.where(F.col("place") <= most)


def _as_arrays(drawn: DataFrame, name: str) -> DataFrame:
    ordered = F.sort_array(F.collect_list(F.struct("place", "user_id")))
    return drawn.groupBy(*GROUP).agg(ordered["user_id"].alias(name))


def _positives(levels: DataFrame, per_kind: int, minimum_level: int, seed: int) -> DataFrame:
    eligible = levels.where(F.col("level") >= minimum_level)
    return _as_arrays(_first_by_hash(eligible, per_kind, "positive", seed), "positives")


def _hard(fired: DataFrame, neighbours: DataFrame, per_kind: int, seed: int) -> DataFrame:
    # The users bring all their latents along: who fires the latent as well is found without another join.
    of_neighbours = _first_by_hash(fired, CANDIDATES_PER_NEIGHBOUR * per_kind, "neighbour", seed, "latent_ids")
    candidates = (
        of_neighbours.withColumnRenamed("latent_id", "neighbour_id")
        .join(F.broadcast(neighbours.select("latent_id", "neighbour_id")), "neighbour_id", "inner")
        .where(~F.array_contains("latent_ids", F.col("latent_id")))
        .select(*GROUP, "user_id")
        .repartition(*GROUP)  # serves distinct and draw
        .distinct()
    )
    return _as_arrays(_first_by_hash(candidates, per_kind, "hard", seed), "hard")


def _random(most: int, seed: int) -> Column:
    """Walk round the pool from a place of the latent's own, past the users for whom it fires."""
    start = F.pmod(_hash(seed, "random", "latent_id"), F.greatest(F.size("pool"), F.lit(1))).cast("int")
    walk = F.concat(F.slice("pool", start + 1, F.size("pool")), F.slice("pool", F.lit(1), start))
    return F.slice(F.array_except(walk, _or_none("fired_in_pool")), 1, most)


def _or_none(users: str) -> Column:
    return F.coalesce(F.col(users), F.array().cast("array<string>"))


def _cases_of(users: str, most: Column, kind: str) -> Column:
    return F.transform(
        F.slice(F.col(users), F.lit(1), most),
        lambda user: F.struct(
            user.alias("user_id"), F.lit(kind).alias("kind"), F.lit(kind == "positive").alias("fires")
        ),
    )
