"""Items and users that a recommender does not know: a night leaves them out, and counts what is lost to them."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.recommenders.inputs import known_items
from recsae_lib.recommenders.store import read_description
from recsae_lib.recommenders.vocabulary import read_vocabulary

NEW_ITEM = "the recommender does not know the item"
NEW_USER = "the recommender does not know the user"
NEW_HISTORY = "the recommender knows no item of the history"


def find_left_out(interactions: DataFrame, folder: Path, represented: DataFrame | None = None) -> DataFrame:
    """Find the items that a recommender does not know, and the users for whom it has no representation.

    Interactions are shuffled by user once, as counts of each task.

    Parameters
    ----------
    interactions : (user_id, item_id, …)
    folder : model folder of `recommenders.store`.
    represented : (user_id, …) of the users whose representations were given, where the model does not make them.

    Returns
    -------
    DataFrame : (kind: item or user, id, interactions, reason), the columns of the table left_out.
    """
    spark = interactions.sparkSession
    marked = interactions.join(known_items(spark, folder), "item_id", how="left")
    items = marked.where("item_index IS NULL").groupBy("item_id").agg(F.count(F.lit(1)).alias("interactions"))
    new_items = items.select(
        F.lit("item").alias("kind"), F.col("item_id").alias("id"), "interactions", F.lit(NEW_ITEM).alias("reason")
    )
    users = marked.groupBy("user_id").agg(
        F.count(F.lit(1)).alias("interactions"), F.count("item_index").alias("known_interactions")
    )
    reason = F.when(F.col("known_interactions") == 0, NEW_HISTORY)
    known_users = represented
    if represented is None and read_description(folder).reads_user_index:
        known_users = read_vocabulary(spark, folder, "user")
    if known_users is not None:
        known = known_users.select("user_id", F.lit(True).alias("known")).hint("shuffle_hash")
        users = users.join(known, "user_id", how="left")
        unknown = F.when(F.col("known").isNull(), NEW_USER)
        reason = unknown if represented is not None else F.coalesce(unknown, reason)
    left_out_users = users.select(
        F.lit("user").alias("kind"), F.col("user_id").alias("id"), "interactions", reason.alias("reason")
    )
    return new_items.unionByName(left_out_users.where("reason IS NOT NULL"))


def left_out_metrics(left_out: DataFrame, interactions: DataFrame) -> dict[str, float]:
    """Count what a night loses.

    Parameters
    ----------
    left_out : rows of the table left_out.
    interactions : of the night.

    Returns
    -------
    dict : ``new_items``; ``left_out_users``; ``left_out_interactions``, those with a new item or of a user who is left
        out, each once; ``left_out_share`` of all interactions.
    """
    of_kind = {
        kind: left_out.where(F.col("kind") == kind).select(F.col("id").alias(f"{kind}_id")) for kind in ("item", "user")
    }
    counts = {kind: rows.count() for kind, rows in of_kind.items()}
    kept = interactions
    for kind, rows in of_kind.items():
        kept = kept.join(rows, f"{kind}_id", how="left_anti") if counts[kind] else kept
    total = interactions.count()
    lost = total - kept.count() if any(counts.values()) else 0
    return {
        "new_items": float(counts["item"]),
        "left_out_users": float(counts["user"]),
        "left_out_interactions": float(lost),
        "left_out_share": lost / max(total, 1),
    }
