"""Verification cases: on which users the description of a latent is tried."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.config import VerificationSettings

SAMPLE_USERS = 1_000_000  # users, drawn by hash, from whom negatives are taken; everybody where there are fewer
POOL_USERS = 4_096  # users, drawn by hash, from whom the random negatives of all latents are taken
CANDIDATES_PER_NEIGHBOUR = 4  # times n: users of one neighbour that are looked at, as some fire the latent as well


def select_cases(
    levels: DataFrame,
    users: DataFrame,
    neighbours: DataFrame,
    per_kind: int,
    settings: VerificationSettings,
    seed: int,
) -> DataFrame:
    """Draw n positive and n negative users for each latent (method.md section 6; RecSAE, arXiv 2411.06112).

    Positives are users for whom the latent fires at level >= `minimum_level`; negatives are users for whom it does not
    fire at all, half of them random and half hard (they fire one of the nearest other latents). Where one of the two
    is short of n, the other is cut to the same number, so that always saying "fires" is right for half of the cases;
    where one sort of negatives is short, the other fills up, and of an odd number the random ones are one more.
    A latent without a positive or without a negative has no cases, and no user stands twice for one latent.

    Everybody is drawn by the order of a seeded hash, not by activation (the reference takes the ten strongest): the
    score then holds for all users that the latent fires for. Negatives come from a hash sample of at most 1,000,000
    users, the random ones from 4,096 of those, each latent starting at a place of its own; no users x latents set
    is built, and neither partitioning nor the order of rows matters.

    Parameters
    ----------
    levels : (latent_id INT, user_id STRING, level INT), the firing pairs of this half only.
    users : (user_id STRING), all users of the half, once each.
    neighbours : (latent_id INT, neighbour_id INT), the nearest other latents.
    per_kind : n, largest number of positives and of negatives a latent.
    settings : `minimum_level` is read.
    seed : seed of the hashes.

    Returns
    -------
    DataFrame : (latent_id INT, user_id STRING, kind STRING positive|random|hard, fires BOOLEAN).
    """
    sampled = _sampled_users(users, seed)
    fired = levels.select("latent_id", "user_id").join(sampled, "user_id", "left_semi")
    pool = _pool(sampled, seed)
    fired_in_pool = (
        fired.join(F.broadcast(pool.select(F.explode("pool").alias("user_id"))), "user_id", "left_semi")
        .groupBy("latent_id")
        .agg(F.collect_set("user_id").alias("fired_in_pool"))
    )
    drawn = (
        _positives(levels, per_kind, settings.minimum_level, seed)
        .join(_hard(fired, neighbours, per_kind, seed), "latent_id", "left")
        .join(fired_in_pool, "latent_id", "left")
        .crossJoin(F.broadcast(pool))
        .select("latent_id", "positives", _or_none("hard").alias("hard"), _random(2 * per_kind, seed).alias("random"))
        .select(
            "latent_id", "positives", "hard", F.slice(F.array_except("random", "hard"), 1, per_kind).alias("random")
        )
    )
    cases = F.least(F.size("positives"), F.size("hard") + F.size("random"))
    hard = F.least(F.size("hard"), F.greatest(F.floor(cases / 2).cast("int"), cases - F.size("random")))
    shares = F.concat(
        _cases_of("positives", cases, "positive"),
        _cases_of("random", cases - hard, "random"),
        _cases_of("hard", hard, "hard"),
    )
    return drawn.select("latent_id", F.explode(shares).alias("case")).select("latent_id", "case.*")


def _hash(seed: int, purpose: str, *columns: str) -> Column:
    return F.xxhash64(F.lit(purpose), F.lit(seed), *columns)


def _sampled_users(users: DataFrame, seed: int) -> DataFrame:
    number = users.agg(F.count(F.lit(1)).alias("number"))
    return (
        users.select("user_id")
        .crossJoin(F.broadcast(number))
        .where(F.pmod(_hash(seed, "sample", "user_id"), F.col("number")) < SAMPLE_USERS)
        .select("user_id")
    )


def _pool(sampled: DataFrame, seed: int) -> DataFrame:
    """One row: an array of the POOL_USERS users whose hashes are smallest, in that order."""
    place = F.struct(_hash(seed, "pool", "user_id").alias("place"), "user_id")
    return (
        sampled.select(place.alias("drawn"))
        .orderBy("drawn")
        .limit(POOL_USERS)
        .agg(F.sort_array(F.collect_list("drawn"))["user_id"].alias("pool"))
    )


def _first_by_hash(pairs: DataFrame, most: int, purpose: str, seed: int) -> DataFrame:
    """Of each latent the `most` users of smallest hash: (latent_id, user_id, place from 1)."""
    by_hash = Window.partitionBy("latent_id").orderBy(_hash(seed, purpose, "latent_id", "user_id"), "user_id")
    return pairs.select("latent_id", "user_id", F.row_number().over(by_hash).alias("place")).where(
        F.col("place") <= most
    )


def _as_arrays(drawn: DataFrame, name: str) -> DataFrame:
    ordered = F.sort_array(F.collect_list(F.struct("place", "user_id")))
    return drawn.groupBy("latent_id").agg(ordered["user_id"].alias(name))


def _positives(levels: DataFrame, per_kind: int, minimum_level: int, seed: int) -> DataFrame:
    eligible = levels.where(F.col("level") >= minimum_level)
    return _as_arrays(_first_by_hash(eligible, per_kind, "positive", seed), "positives")


def _hard(fired: DataFrame, neighbours: DataFrame, per_kind: int, seed: int) -> DataFrame:
    of_neighbours = _first_by_hash(fired, CANDIDATES_PER_NEIGHBOUR * per_kind, "neighbour", seed).select(
        F.col("latent_id").alias("neighbour_id"), "user_id"
    )
    candidates = (
        neighbours.select("latent_id", "neighbour_id")
        .join(of_neighbours, "neighbour_id", "inner")
        .select("latent_id", "user_id")
        .distinct()
        .join(fired, ["latent_id", "user_id"], "left_anti")
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
