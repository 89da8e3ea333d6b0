"""Interactions joined with the vocabulary of a model: one row a user, items oldest first."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.recommenders.grouping import INPUT_COLUMNS, group_batches
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import read_description
from recsae_lib.recommenders.vocabulary import FILES, read_vocabulary

BROADCAST_BYTES = 2**24  # some 2 million items; a larger vocabulary is not sent to every executor as a hash table


def model_inputs(interactions: DataFrame, folder: Path) -> DataFrame:
    """Turn interactions into what a recommender reads of each user.

    Interactions are shuffled once, by user (and once by item where the vocabulary of items is large). Users are put
    together in the sorted partitions by Arrow kernels: twice as fast as a grouped aggregation, in less memory
    (50 million interactions take 59 s, 1.05 times one numpy process with all in memory: `make bench ONLY=extraction`).
    Delete the kernels when a grouped aggregation in Spark comes near that.

    Parameters
    ----------
    interactions : (user_id, item_id, ts, source_order, …)
    folder : model folder of `recommenders.store`.

    Returns
    -------
    DataFrame : `INPUT_COLUMNS`; items oldest first, of equal time by source_order, then item_id; train_end and
        test_start say what the recommender was not trained on (`split`). Items that the model does not know are left
        out, and so are users who keep none. user_index is null where the model does not read or know the user.

    Raises
    ------
    InputError : the folder is damaged.
    """
    stored = read_description(folder)
    rows = with_item_index(interactions, folder, stored.split).repartition("user_id")
    if stored.reads_user_index:
        # A hash table of the users of one partition: the interactions stay as they are partitioned, and unsorted.
        users = read_vocabulary(interactions.sparkSession, folder, "user").hint("shuffle_hash")
        rows = rows.join(users, "user_id", how="left")
    else:
        rows = rows.withColumn("user_index", F.lit(None).cast("int"))
    return stored.split.ends(in_order(rows))


def with_item_index(interactions: DataFrame, folder: Path, split: Split) -> DataFrame:
    """Keep (user_id, ts, source_order, item_index, period) of the interactions with items of the vocabulary."""
    found = interactions.join(known_items(interactions.sparkSession, folder), "item_id", how="inner")
    return found.select("user_id", "ts", "source_order", "item_index", split.period().alias("period"))


def known_items(spark: SparkSession, folder: Path) -> DataFrame:
    """Return (item_id, item_index) of the vocabulary, for a join with interactions."""
    # Spark cannot know the size of what a Python function reads, so the join is chosen here.
    small = (folder / FILES["item"]).stat().st_size <= BROADCAST_BYTES
    return read_vocabulary(spark, folder, "item").hint("broadcast" if small else "merge")


def in_order(rows: DataFrame) -> DataFrame:
    """Put the rows of `with_item_index` (and user_index) together by user, each in one partition."""
    # Indices rise with ids: the last tie is broken by item_id.
    ordered = rows.sortWithinPartitions("user_id", "ts", "source_order", "item_index")
    return ordered.select("user_id", "user_index", "item_index", "period").mapInArrow(group_batches, INPUT_COLUMNS)
