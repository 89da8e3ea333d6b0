"""Users whose test item hangs on a tie: another interaction has the same time, and something else put them in order."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.recommenders.split import SHORTEST_EVALUATED, Split


def tied_share(interactions: DataFrame, split: Split) -> float:
    """Share of the users with a test item who did something else at the same time (METHOD.md section 1); 0 without any.

    One shuffle of the interactions, by user and time.

    Parameters
    ----------
    interactions : (user_id, ts, …)
    split : what is held out.
    """
    of_times = interactions.select("user_id", "ts", split.period().alias("period")).groupBy("user_id", "ts")
    counted = of_times.agg(F.first("period").alias("period"), F.count(F.lit(1)).alias("rows"))
    if split.dev_from is None:
        evaluated, at_once = F.sum("rows") >= SHORTEST_EVALUATED, F.max_by("rows", "ts")
    else:
        in_test = F.col("period") == 2
        evaluated = F.max(in_test) & (F.min("period") == 0)
        at_once = F.min_by(F.when(in_test, F.col("rows")), F.when(in_test, F.col("ts")))
    users = counted.groupBy("user_id").agg(evaluated.alias("evaluated"), at_once.alias("rows"))
    tested = users.where("evaluated").agg(F.count(F.lit(1)), F.count_if(F.col("rows") > 1)).first()
    assert tested is not None  # an aggregate without groups has one row
    return tested[1] / tested[0] if tested[0] else 0.0
