"""The items of a recommender as tunings are measured by: features and popularity, beside the item vectors."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.recommenders.inputs import known_items
from recsae_lib.recommenders.store import read_description
from recsae_lib.recommenders.training_counts import training_counts


def catalogue_rows(items: DataFrame, interactions: DataFrame, model_folder: Path) -> DataFrame:
    """What is known of every item of the model's vocabulary, one row each.

    Parameters
    ----------
    items : (item_id, title, features, maybe derived_features), the catalogue.
    interactions : (user_id, item_id, ts, source_order).
    model_folder : folder of `recommenders.store`.

    Returns
    -------
    DataFrame : (item_index INT, title STRING, interactions LONG, derived ARRAY<STRING>, features ARRAY<STRING>);
        interactions without dev and test ones.
    """
    known = known_items(items.sparkSession, model_folder)
    counts = training_counts(interactions, read_description(model_folder).split).join(known, "item_id")
    facts = items.select("item_id", "title", derived_features(items).alias("derived"), "features")
    none = F.array().cast("array<string>")
    return (
        known.join(facts, "item_id", "left")
        .join(counts.select("item_index", "interactions"), "item_index", "left")
        .select(
            "item_index",
            F.coalesce("title", F.lit("")).alias("title"),
            F.coalesce("interactions", F.lit(0)).cast("long").alias("interactions"),
            F.coalesce("derived", none).alias("derived"),
            F.coalesce("features", none).alias("features"),
        )
    )
