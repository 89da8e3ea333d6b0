"""What the page says of each concept: one JSON text a latent, put together by Spark from the published tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.levels import firing_pairs
from recsae_lib.explorer.assembly import assembled
from recsae_lib.explorer.audience import activation_histograms, audiences
from recsae_lib.explorer.texts import DESCRIPTION, FEATURE, LABEL, cut, known_by, rounded, shown_features
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import Table

Read = Callable[[Table], DataFrame]

FACTS = ""  # name of what is no list: entries whose fields are those of the card
TERMS = 20
LINKED_ITEMS = 12
PUSHED_ITEMS = 10  # of either end
PUSHED_FEATURES = 6  # of either end
CASE_ITEMS = 6


def cards(read: Read, linked_items: str, show_users: bool) -> DataFrame:
    """Put together what the page says of each concept.

    Everything that a card lists is a row; one shuffle brings the rows of a latent together, and one sort in order.

    Parameters
    ----------
    read : gives the rows of a table that the audit published; none where it did not have the table.
    linked_items : ``recommended`` or ``context``: the items of a user that count as evidence.
    show_users : whether the cases name their users.

    Returns
    -------
    DataFrame : (latent_id INT, card STRING), one row a concept, by rising latent within and over the partitions. Lists
        are short and texts are cut, so that a card has some kilobytes, however many users and items there are.
    """
    concepts = read(tables.CONCEPTS).drop("dt", "sae_version")
    items = read(tables.ITEMS).select(
        "item_id",
        known_by(F.col("item_id"), F.col("title")).alias("title"),
        shown_features(F.col("features")).alias("features"),
    )
    activations, recommendations = read(tables.LATENT_ACTIVATIONS), read(tables.RECOMMENDATIONS)
    entries = [
        _facts(concepts),
        _terms(read(tables.CONCEPT_TERMS)),
        _items(read(tables.LATENT_ITEMS), read(tables.LATENT_EFFECTS), items),
        _output_features(read(tables.LATENT_EFFECTS)),
        _scores(read(tables.CONCEPT_SCORES), read(tables.SHUFFLED_SCORES)),
        _changes(read(tables.CONCEPT_DRIFT)),
        _cases(read(tables.VERIFICATION_CASES), recommendations, items, linked_items, show_users),
        _entries(activation_histograms(firing_pairs(activations), concepts), FACTS, F.lit(1), "histogram"),
        _entries(
            audiences(activations, recommendations, read(tables.ITEMS)),
            *("audience", F.col("rank"), "feature", "share", "of_all", "users"),
        ),
    ]
    known = F.broadcast(concepts.select("latent_id"))
    rows = reduce(DataFrame.unionByName, entries).join(known, "latent_id", "leftsemi")
    return (
        rows.repartitionByRange("latent_id")
        .sortWithinPartitions("latent_id", "list", "place", "entry")
        .mapInArrow(assembled, "latent_id int, card string")
    )


def _entries(rows: DataFrame, name: str, place: Column, *columns: str) -> DataFrame:
    """One row of each entry of the list `name` of a card: (latent_id, list, place DOUBLE, entry STRING of JSON)."""
    return (
        rounded(rows)
        .withColumn("_place", place.cast("double"))
        .select(
            "latent_id",
            F.lit(name).alias("list"),
            F.col("_place").alias("place"),
            F.to_json(F.struct(*columns)).alias("entry"),
        )
    )


def _facts(concepts: DataFrame) -> DataFrame:
    cuts = {"label": LABEL, "description": DESCRIPTION, "best_feature": FEATURE, "output_feature": FEATURE}
    shown = concepts.withColumns({name: cut(F.col(name), most) for name, most in cuts.items()})
    return _entries(shown.withColumn("features", shown_features(F.col("features"))), FACTS, F.lit(0), *concepts.columns)


def _terms(terms: DataFrame) -> DataFrame:
    shown = terms.where(F.col("rank") <= TERMS).withColumn("term", cut(F.col("term"), FEATURE))
    columns = ("term", "kind", "tfidf", "z_score", "lift", "items", "significant")
    return _entries(shown, "terms", F.col("rank"), *columns)


def _items(linked: DataFrame, effects: DataFrame, items: DataFrame) -> DataFrame:
    """Items that latents are linked to, and those that they push up and down, with titles by one join."""
    pushed = effects.where((F.col("kind") == "item") & (F.abs("rank") <= PUSHED_ITEMS))
    end = F.when(F.col("rank") > 0, "items_up").otherwise("items_down")
    both = linked.where(F.col("rank") <= LINKED_ITEMS).select(
        "latent_id", F.lit("items_linked").alias("list"), "rank", "item_id", F.col("weight").alias("value"), "users"
    )
    both = both.unionByName(
        pushed.select(
            *("latent_id", end.alias("list"), F.abs("rank").alias("rank"), "item_id"),
            *(F.col("effect").alias("value"), F.lit(None).cast("long").alias("users")),
        )
    )
    named = rounded(both.join(items, "item_id", "left"))
    entry = F.to_json(F.struct("item_id", "title", "features", "value", "users"))
    return named.select("latent_id", "list", F.col("rank").cast("double").alias("place"), entry.alias("entry"))


def _output_features(effects: DataFrame) -> DataFrame:
    shown = effects.where((F.col("kind") != "item") & (F.abs("rank") <= PUSHED_FEATURES)).withColumn(
        "feature", cut(F.col("feature"), FEATURE)
    )
    # Highest first, lowest last; within a kind the ranks of the lower end are negative.
    return _entries(shown, "output_features", -F.col("output_score"), "feature", "kind", "output_score", "q_value")


def _scores(scores: DataFrame, shuffled: DataFrame) -> DataFrame:
    by_chance = shuffled.select("latent_id", "judge", F.col("confidence").alias("shuffled_confidence"))
    columns = (
        *("judge", "confidence", "confidence_low", "confidence_high", "recall", "specificity", "hard_specificity"),
        *("auc", "hard_auc", "q_value", "cases", "interpretable", "shuffled_confidence"),
    )
    judged = scores.join(by_chance, ["latent_id", "judge"], "left")
    return _entries(judged, "scores", _by_judge(), *columns)


def _by_judge() -> Column:
    return F.when(F.col("judge") == "terms", 0).otherwise(1)


def _changes(drift: DataFrame) -> DataFrame:
    columns = (
        *("previous_dt", "change", "previous_latent_id", "previous_label", "similarity", "similarity_by"),
        *("term_similarity", "previous_density"),
    )
    shown = drift.where(F.col("latent_id").isNotNull()).withColumn(
        "previous_label", cut(F.col("previous_label"), LABEL)
    )
    newest_first = -F.datediff("previous_dt", F.lit("1970-01-01").cast("date"))
    return _entries(shown, "changes", newest_first, *columns)


def _cases(
    cases: DataFrame, recommendations: DataFrame, items: DataFrame, linked_items: str, show_users: bool
) -> DataFrame:
    """One judged user of each kind of answer, right and wrong, with the first items that the judge saw."""
    answer = Window.partitionBy("latent_id", "judge", "fires", "judged").orderBy(F.xxhash64("user_id"), "user_id")
    drawn = cases.withColumn("place", F.row_number().over(answer)).where("place = 1").drop("place")
    of_user = "item_ids" if linked_items == "recommended" else "context_ids"
    ids = (
        F.slice(of_user, 1, CASE_ITEMS) if linked_items == "recommended" else F.slice(of_user, -CASE_ITEMS, CASE_ITEMS)
    )
    # A history may be shorter than what is asked for from its end.
    ids = F.when(F.size(of_user) <= CASE_ITEMS, F.col(of_user)).otherwise(ids)
    seen = drawn.join(recommendations.select("user_id", ids.alias("ids")), "user_id", "left")
    one = ["latent_id", "judge", "fires", "judged", "kind", "user_id"]
    named = (
        seen.select(*one, F.posexplode_outer("ids").alias("place", "item_id"))
        .join(items.select("item_id", "title"), "item_id", "left")
        .groupBy(*one)
        .agg(
            F.sort_array(F.collect_list(F.struct("place", F.coalesce("title", "item_id").alias("title")))).alias(
                "found"
            )
        )
        .withColumn("titles", F.col("found.title"))
    )
    if not show_users:
        named = named.withColumn("user_id", F.lit(None).cast("string"))
    place = _by_judge() * 4 + (~F.col("fires")).cast("int") * 2 + (~F.col("judged")).cast("int")
    return _entries(named, "cases", place, "judge", "kind", "fires", "judged", "user_id", "titles")
