"""What a request shows of one latent, gathered from the tables: terms, linked items, near-miss items."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.item_terms import derived_features
from recsae_lib.config import InterpretationSettings

LONGEST_TERM = 100  # characters; longer terms and item features are left out, since a cut one would match nothing
LONGEST_TITLE = 200
LONGEST_TEXT = 500
FEATURES_PER_ITEM = 20


def gather_request_evidence(
    live_latents: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    items: DataFrame,
    neighbours: DataFrame,
    settings: InterpretationSettings,
) -> DataFrame:
    """Gather the evidence that a language model sees (METHOD.md section 5; RecSAE, arXiv 2411.06112).

    A near-miss item is linked to a nearest other latent and is not among the items kept for this one; the strongest
    items of every neighbour come first, ties break on the neighbour's rank and on item_id. Items that the catalogue
    does not hold are left out.

    Parameters
    ----------
    live_latents : latent_id.
    concept_terms : latent_id, term, kind, tfidf, significant, rank.
    latent_items : latent_id, item_id, weight, rank.
    items : item_id, title, text, features, maybe derived_features.
    neighbours : latent_id, neighbour_id, rank (1 is the nearest).
    settings : `top_terms`, `top_items` and `near_miss_items` are read.

    Returns
    -------
    DataFrame
        latent_id and three arrays, best first, null where there is nothing to show: terms (rank, term, kind, tfidf,
        significant), linked_items and near_miss_items (both rank, title, text, features, weight). At most
        `top_terms` + `top_items` + `near_miss_items` elements a latent, each of bounded length.
    """
    terms = (
        concept_terms.where((F.col("rank") <= settings.top_terms) & (F.length("term") <= LONGEST_TERM))
        .select("latent_id", F.struct("rank", "kind", "term", "tfidf", "significant").alias("term"))
        .groupBy("latent_id")
        .agg(F.sort_array(F.collect_list("term")).alias("terms"))
    )
    linked = latent_items.where(F.col("rank") <= settings.top_items).select(
        "latent_id", "item_id", "rank", "weight", F.lit(True).alias("linked")
    )
    near_miss = _near_miss_items(latent_items, neighbours, settings.near_miss_items).select(
        "latent_id", "item_id", "rank", F.lit(0.0).alias("weight"), F.lit(False).alias("linked")
    )
    shown = F.struct("rank", "title", "text", "features", "weight")
    shown_items = (
        linked.unionByName(near_miss)
        .join(live_latents, "latent_id", "left_semi")
        .join(shown_items_of(items, LONGEST_TEXT), "item_id", "inner")
        .groupBy("latent_id")
        .agg(
            F.sort_array(F.collect_list(F.when(F.col("linked"), shown))).alias("linked_items"),
            F.sort_array(F.collect_list(F.when(~F.col("linked"), shown))).alias("near_miss_items"),
        )
    )
    return (
        live_latents.join(terms, "latent_id", "left")
        .join(shown_items, "latent_id", "left")
        .select("latent_id", "terms", "linked_items", "near_miss_items")
    )


def shown_items_of(items: DataFrame, longest_text: int) -> DataFrame:
    """Return (item_id, title, text, features) as requests show them, each of bounded length; derived features last."""
    return items.select(
        "item_id",
        F.substring("title", 1, LONGEST_TITLE).alias("title"),
        F.substring("text", 1, longest_text).alias("text"),
        F.concat(_shown(F.col("features")), _shown(derived_features(items))).alias("features"),
    )


def _shown(features: Column) -> Column:
    return F.slice(F.filter(features, lambda name: F.length(name) <= LONGEST_TERM), 1, FEATURES_PER_ITEM)


def _near_miss_items(latent_items: DataFrame, neighbours: DataFrame, most: int) -> DataFrame:
    of_neighbours = latent_items.select(
        F.col("latent_id").alias("neighbour_id"), "item_id", F.col("rank").alias("item_rank")
    )
    by_nearness = Window.partitionBy("latent_id").orderBy("nearest", "item_id")
    return (
        neighbours.select("latent_id", "neighbour_id", F.col("rank").alias("neighbour_rank"))
        .join(of_neighbours, "neighbour_id", "inner")
        .join(latent_items.select("latent_id", "item_id"), ["latent_id", "item_id"], "left_anti")
        .groupBy("latent_id", "item_id")
        .agg(F.min(F.struct("item_rank", "neighbour_rank")).alias("nearest"))
        .select("latent_id", "item_id", F.row_number().over(by_nearness).alias("rank"))
        .where(F.col("rank") <= most)
    )
