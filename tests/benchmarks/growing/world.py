"""Planted interactions and items of any size, written by Spark from the hashes of numbers: the driver holds no row.

An item has one of `FEATURES` features. A user likes `LIKED` of them, `HOT_SHARE` of the users the first one among them,
and takes nine of ten items from what they like. Items of a feature, and all items, are taken by Zipf's law of exponent
1. `HOT_USERS` users have `HOT_LENGTH` interactions, the others `SHORTEST` to `LONGEST`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

FEATURES, LIKED, DIMENSION = 200, 3, 64
HOT_SHARE, HOT_USERS, HOT_LENGTH = 0.4, 10, 10_000  # its latent fires for most of those (24 % at a share of 0.3)
SHORTEST, LONGEST = 10, 30
OWN_SHARE = 0.9  # of a user's items that have a liked feature
WORDS = 1999  # of which titles are made
USERS_A_TASK = 100_000
SEED = 2026


@dataclass(frozen=True)
class Size:
    """Users and items of one world; the number of items is a multiple of `FEATURES`."""

    users: int
    items: int

    @property
    def folder_name(self) -> str:
        return f"{count_name(self.users)}-users-{count_name(self.items)}-items"


def count_name(count: int) -> str:
    """A number as `SIZE` takes it: 20k, 1m, 500."""
    for unit, letter in ((1_000_000, "m"), (1000, "k")):
        if count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)


def count_of(name: str) -> int:
    """The number behind a name such as 20k or 1m."""
    unit = {"k": 1000, "m": 1_000_000}.get(name[-1:].lower())
    return int(name) if unit is None else int(name[:-1]) * unit


def write_world(spark: SparkSession, folder: Path, size: Size) -> None:
    """Write the Parquet folders interactions (user_id, item_id, ts) and items (item_id, title, features)."""
    items(spark, size).write.mode("overwrite").parquet(str(folder / "items"))
    interactions(spark, size).write.mode("overwrite").parquet(str(folder / "interactions"))


def items(spark: SparkSession, size: Size) -> DataFrame:
    """The catalogue: item n has the feature n mod `FEATURES`, and a title of three random words."""
    words = [F.concat(F.lit("word"), F.pmod(_hash("word", place, "id"), F.lit(WORDS))) for place in range(3)]
    feature = F.concat(F.lit("feature "), F.col("id") % FEATURES)
    return spark.range(size.items).select(
        item_id(F.col("id")).alias("item_id"),
        F.concat_ws(" ", *words).alias("title"),
        F.array(feature).alias("features"),
    )


def interactions(spark: SparkSession, size: Size) -> DataFrame:
    """All that users did, a minute apart; a user may have an item again."""
    user = F.col("id")
    is_hot = (user % max(size.users // HOT_USERS, 1) == 0) & (user < size.users // HOT_USERS * HOT_USERS)
    length = SHORTEST + F.pmod(_hash("length", 0, "id"), F.lit(LONGEST - SHORTEST + 1))
    users = spark.range(0, size.users, 1, -(-size.users // USERS_A_TASK)).select(
        user,
        F.array(*[_liked(place) for place in range(LIKED)]).alias("liked"),
        F.explode(F.sequence(F.lit(1), F.when(is_hot, HOT_LENGTH).otherwise(length).cast("int"))).alias("step"),
    )
    one = F.element_at("liked", (1 + F.pmod(_hash("which", 0, "id", "step"), F.lit(LIKED))).cast("int"))
    draw = _uniform("rank", "id", "step")
    own = one + FEATURES * zipf_rank(draw, size.items // FEATURES)
    item = F.when(_uniform("own", "id", "step") < OWN_SHARE, own).otherwise(zipf_rank(draw, size.items))
    ts = F.lit(1_700_000_000) + F.pmod(_hash("start", 0, "id"), F.lit(86_400)) + 60 * F.col("step")
    user_id = F.format_string("user-%09d", user)
    return users.select(user_id.alias("user_id"), item_id(item).alias("item_id"), ts.cast("long").alias("ts"))


def item_id(number: Column) -> Column:
    """Ids rise with the numbers."""
    return F.format_string("item-%08d", number)


def zipf_rank(uniform: Column, count: int) -> Column:
    """Rank r from 0 to count − 1 with probability log((r + 2) / (r + 1)) / log(count + 1), nearly as 1 / (r + 1)."""
    rank = F.floor(F.exp(uniform * float(np.log(count + 1)))) - 1
    return F.least(rank, F.lit(count - 1))


def directions() -> np.ndarray:
    """What the features point at, (FEATURES, DIMENSION), of unit norm."""
    drawn = np.random.default_rng(SEED).normal(size=(FEATURES, DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def item_vectors(count: int) -> np.ndarray:
    """Vectors that follow the planted features, (count, DIMENSION)."""
    random, along = np.random.default_rng([SEED, 1]), directions()
    lengths = random.uniform(0.8, 1.2, (count, 1)).astype(np.float32)
    noise = random.standard_normal((count, DIMENSION), dtype=np.float32)
    return 3 * along[np.arange(count) % FEATURES] * lengths + 0.1 * noise


def _liked(place: int) -> Column:
    """One feature that a user likes: the first of all for `HOT_SHARE` of them, else any but that."""
    other = 1 + F.pmod(_hash("liked", place, "id"), F.lit(FEATURES - 1))
    return F.when(_uniform("hot", "id") < HOT_SHARE, F.lit(0)).otherwise(other) if place == 0 else other


def _uniform(purpose: str, *columns: str) -> Column:
    return F.shiftrightunsigned(_hash(purpose, 0, *columns), 11) / float(2**53)


def _hash(purpose: str, number: int, *columns: str) -> Column:
    return F.xxhash64(F.lit(purpose), F.lit(number), *[F.col(name) for name in columns])
