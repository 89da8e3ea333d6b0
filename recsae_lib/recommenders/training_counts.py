"""How often each item occurs in the part of the interactions that a recommender is trained on."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.recommenders.split import SHORTEST_EVALUATED, Split


def training_counts(interactions: DataFrame, split: Split) -> DataFrame:
    """Count the training interactions of each item (`split`): (item_id, interactions LONG), items with none left out.

    Leave-one-out puts each user's interactions in order: one shuffle of them, by user.

    Parameters
    ----------
    interactions : (user_id, item_id, ts, source_order, …)
    split : what is held out.
    """
    if split.dev_from is not None:
        trained = interactions.where(split.period() == 0)
    else:
        ordered = interactions.select("user_id", "item_id", "ts", "source_order")
        latest_first = [F.col(name).desc() for name in ("ts", "source_order", "item_id")]
        history = Window.partitionBy("user_id").orderBy(*latest_first)
        place = F.row_number().over(history)
        # Of the two latest, which are held out only where there is a third.
        to_third = F.when(place == 1, F.lead("item_id", 2).over(history)).otherwise(F.lead("item_id", 1).over(history))
        held_out = (place < SHORTEST_EVALUATED) & to_third.isNotNull()
        trained = ordered.withColumn("held_out", held_out).where(~F.col("held_out"))
    return trained.groupBy("item_id").agg(F.count(F.lit(1)).alias("interactions"))
