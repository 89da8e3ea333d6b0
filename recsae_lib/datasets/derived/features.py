"""From items and training interactions to the column derived_features of the table items."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import DerivedFeatureSettings
from recsae_lib.datasets.derived.attribute_texts import attribute_texts
from recsae_lib.datasets.derived.popularity_tiers import popularity_tier, tier_starts
from recsae_lib.datasets.derived.release_periods import release_period, release_year
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.spark.frames import free, keep, keep_on_disk


def with_derived_features(
    items: DataFrame, training_counts: DataFrame, settings: DerivedFeatureSettings, this_year: int
) -> DataFrame:
    """Complete items by their derived features (METHOD.md section 1); on disk until `unpersist`.

    On the driver are the numbers of items of each year, and of each count of interactions: of n interactions in all, at
    most √(2n) of these.

    Parameters
    ----------
    items : (item_id, title, text, features, released, attributes), see `Dataset`.
    training_counts : (item_id, interactions LONG), 1 or more; read if the settings ask for tiers.
    this_year : see `release_year`.

    Returns
    -------
    DataFrame : the columns of the table items.
    """
    year = release_year(this_year)
    counts = keep(training_counts) if settings.popularity_tier else training_counts.limit(0)
    no_years = items.limit(0) if settings.release_period == "never" else items
    groups = [no_years.groupBy(year.alias("key")), counts.groupBy(F.col("interactions").alias("key"))]
    by_year, by_count = side_by_side(lambda group: dict(map(tuple, group.count().collect())), groups)
    texts = [F.array(release_period(year, by_year, settings.release_period))]
    if settings.popularity_tier and by_count:
        items = items.join(counts, "item_id", how="left")
        texts.append(F.array(popularity_tier(F.coalesce("interactions", F.lit(0)), tier_starts(by_count))))
    if settings.attributes:
        texts.append(F.coalesce(attribute_texts(), F.array().cast("array<string>")))
    derived = F.array_distinct(F.array_compact(F.concat(*texts)))
    completed = keep_on_disk(items.select("item_id", "title", "text", "features", derived.alias("derived_features")))
    completed.count()
    if settings.popularity_tier:
        free(counts)
    return completed
