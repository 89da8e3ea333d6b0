"""What is searched: terms and items, each with the concepts that it leads to."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.explorer.texts import FEATURE, cut, known_by

MOST_ENTRIES = 100_000  # terms, or items, that can be searched: those of most concepts
MOST_CONCEPTS = 200  # of an entry that are listed
TERMS_OF_CONCEPT = 20  # by which it is found
ITEMS_OF_CONCEPT = 20


def term_directory(terms: DataFrame) -> DataFrame:
    """Terms, and the concepts of which each is a significant one.

    Parameters
    ----------
    terms : rows of concept_terms.

    Returns
    -------
    DataFrame : (text, concepts LONG, row STRING): at most `MOST_ENTRIES` rows, those of most concepts first. ``row`` is
        JSON: kind, and latents by rank.
    """
    shown = terms.where(F.col("significant") & (F.col("rank") <= TERMS_OF_CONCEPT))
    entries = shown.groupBy(cut(F.col("term"), FEATURE).alias("text"), "kind").agg(
        F.count(F.lit(1)).alias("concepts"), _latents(F.struct("rank", "latent_id")).alias("latents")
    )
    row = F.to_json(F.struct("kind", "latents"))
    return entries.select("text", "concepts", row.alias("row")).orderBy(F.desc("concepts"), "text").limit(MOST_ENTRIES)


def item_directory(linked: DataFrame, effects: DataFrame, items: DataFrame) -> DataFrame:
    """Items, and the concepts that are linked to each, or push it up or down.

    Parameters
    ----------
    linked, effects, items : rows of latent_items, latent_effects and items.

    Returns
    -------
    DataFrame : (text, concepts LONG, row STRING) as of `term_directory`; ``row`` has item_id and latents by list.
    """
    linked = linked.where(F.col("rank") <= ITEMS_OF_CONCEPT).select(
        "item_id", F.lit("linked").alias("list"), "rank", "latent_id"
    )
    end = F.when(F.col("rank") > 0, "up").otherwise("down")
    pushed = effects.where(F.col("kind") == "item").select(
        "item_id", end.alias("list"), F.abs("rank").alias("rank"), "latent_id"
    )
    entry = F.struct("rank", "latent_id")
    lists = [_latents(F.when(F.col("list") == name, entry)).alias(name) for name in ("linked", "up", "down")]
    entries = linked.unionByName(pushed).groupBy("item_id").agg(F.count(F.lit(1)).alias("concepts"), *lists)
    named = entries.join(items.select("item_id", "title"), "item_id", "left")
    row = F.to_json(F.struct("item_id", "linked", "up", "down"))
    found = named.select(
        known_by(F.col("item_id"), F.coalesce("title", F.lit(""))).alias("text"),
        "concepts",
        row.alias("row"),
        "item_id",
    )
    return found.orderBy(F.desc("concepts"), "item_id").limit(MOST_ENTRIES).drop("item_id")


def _latents(entry: Column) -> Column:
    """The latents of an entry, those for which it ranks highest first."""
    return F.slice(F.sort_array(F.collect_list(entry)), 1, MOST_CONCEPTS)["latent_id"]
