"""Coherence within latents and distinctiveness between them: how alike the cases of a latent are, and the latents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.dictionaries import PLACE_BITS, dictionary_of
from recsae_lib.concepts.item_terms import item_terms
from recsae_lib.concepts.latent_runs import latent_runs
from recsae_lib.concepts.levels import firing_pairs
from recsae_lib.config import TermSettings

SMALLEST_SQUARE = 1e-12  # of a sum of unit vectors; a smaller one is rounding and has no direction
# How many latents have coherence, its sum, how many have a centroid with a direction, and the sum of these directions.
VECTOR_SUM_COLUMNS = "dictionary int, latents bigint, coherence double, centroids bigint, direction_sum array<double>"


def coherence_metrics(
    activations: DataFrame,
    latent_items: DataFrame,
    representations: DataFrame,
    embeddings: DataFrame,
    items: DataFrame,
    terms: TermSettings,
    cases: int,
) -> dict[int, dict[str, float | None]]:
    """Measure coherence and distinctiveness of each dictionary (METHOD.md section 7).

    ::

        v_1 … v_n        unit vectors of the top distinct cases of latent l;     s_l = Σ_i v_i
        coherence_l    = mean over i < j of ⟨v_i, v_j⟩ = (‖s_l‖² − n) / (n (n − 1))
        coherence      = mean of coherence_l over the L latents with n ≥ 2
        distinctiveness = mean over l < m of ⟨ŝ_l, ŝ_m⟩ = (‖Σ_l ŝ_l‖² − L) / (L (L − 1)),     ŝ_l = s_l / ‖s_l‖

    Cases are the users of highest activation (equal ones by user_id) for the representation, and the linked items of
    first rank for embedding and text. A case without a vector, or with one of zeros, is none. The vector of a text is

        v_it = n_it · (ln((1 + N) / (1 + df_t)) + 1)

    over the terms t of the item (words, runs of words, item features); df_t of the N items of the catalogue have t.

    No pair of cases or of latents is ever formed. Representations and embeddings meet the cases, at most M · `cases`
    rows, by broadcast, and only the vectors of cases are shuffled. One vector a task and dictionary comes to the
    driver; the sum over latents by text, which is as long as the vocabulary, stays in Spark.

    Parameters
    ----------
    activations : (user_id, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user.
    latent_items : (latent_id, item_id, rank).
    representations : (user_id, representation ARRAY<FLOAT>), one row a user.
    embeddings : (item_id, embedding ARRAY<FLOAT>), one row an item.
    items : (item_id, title, text, features), the catalogue.
    terms : what the terms of an item are.
    cases : largest number of cases a latent.

    Returns
    -------
    dict : by dictionary coherence_v and distinctiveness_v for v in representation, item_embedding, item_text; None
        where no latent (for distinctiveness fewer than two) has two cases.
    """
    users = _top_users(activations, cases)
    linked = latent_items.where(F.col("rank") <= cases).select("latent_id", "item_id")
    of_users = representations.join(F.broadcast(users), "user_id", "inner").select("latent_id", "representation")
    of_items = embeddings.join(F.broadcast(linked), "item_id", "inner").select("latent_id", "embedding")
    sums = (
        _vector_sums(of_users, "representation")
        .unionByName(_vector_sums(of_items, "item_embedding"))
        .unionByName(_text_sums(linked, items, terms, "item_text"), allowMissingColumns=True)
        .collect()  # one row a task
    )
    metrics: dict[int, dict[str, float | None]] = {}
    for dictionary in sorted({row["dictionary"] for row in sums}):
        metrics[dictionary] = {}
        for variant in ("representation", "item_embedding", "item_text"):
            of_both = [row for row in sums if (row["dictionary"], row["variant"]) == (dictionary, variant)]
            coherence, distinctiveness = _means(of_both)
            metrics[dictionary][f"coherence_{variant}"] = coherence
            metrics[dictionary][f"distinctiveness_{variant}"] = distinctiveness
    return metrics


def _means(sums: Sequence[Row]) -> tuple[float | None, float | None]:
    latents, centroids = (sum(row[name] for row in sums) for name in ("latents", "centroids"))
    coherence = sum(row["coherence"] for row in sums) / latents if latents else None
    if centroids < 2:
        return coherence, None
    directions = [row["direction_sum"] for row in sums if row["direction_sum"]]
    square = float(np.square(np.sum(directions, axis=0)).sum()) if directions else sum(row["square"] for row in sums)
    return coherence, (square - centroids) / (centroids * (centroids - 1))


def _top_users(activations: DataFrame, cases: int) -> DataFrame:
    strongest = Window.partitionBy("latent_id").orderBy(F.desc("activation"), "user_id")
    return (
        firing_pairs(activations)
        .select("latent_id", "user_id", F.row_number().over(strongest).alias("rank"))
        .where(F.col("rank") <= cases)
        .select("latent_id", "user_id")
    )


def _vector_sums(cases: DataFrame, variant: str) -> DataFrame:
    """Sum up the vectors of cases, (latent_id, vector), to one row a task."""
    return (
        cases.toDF("latent_id", "vector")
        .repartition("latent_id")
        .sortWithinPartitions("latent_id")
        .mapInArrow(sum_vectors, VECTOR_SUM_COLUMNS)
        .select("*", F.lit(None).cast("double").alias("square"), F.lit(variant).alias("variant"))
    )


def sum_vectors(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Turn the batches of a task, latent_id (sorted) and vector, into `VECTOR_SUM_COLUMNS`, one row a dictionary."""
    for dictionary, latents in groupby(latent_runs(batches), key=lambda run: run[0] >> PLACE_BITS):
        yield _sum_of_dictionary(dictionary, (rows for _, rows in latents))


def _sum_of_dictionary(dictionary: int, runs: Iterable[Iterable[pa.RecordBatch]]) -> pa.RecordBatch:
    latents, centroids = 0, 0
    coherence, direction_sum = 0.0, np.zeros(0)
    for rows in runs:
        vectors = np.concatenate([_unit_vectors(batch.column("vector")) for batch in rows])
        n = len(vectors)
        if n < 2:
            continue
        total = vectors.sum(axis=0)
        square = float(total @ total)
        latents += 1
        coherence += (square - n) / (n * (n - 1))
        if square > SMALLEST_SQUARE:
            centroids += 1
            direction_sum = total / np.sqrt(square) + (direction_sum if len(direction_sum) else 0.0)
    sums = [[latents], [coherence], [centroids], [direction_sum]]
    return pa.RecordBatch.from_arrays(
        [pa.array([dictionary], pa.int32())]
        + [pa.array(column) for column in sums[:3]]
        + [pa.array(sums[3], type=pa.list_(pa.float64()))],
        names=["dictionary", "latents", "coherence", "centroids", "direction_sum"],
    )


def _unit_vectors(lists: pa.ListArray) -> np.ndarray:
    vectors = lists.flatten().to_numpy().reshape(len(lists), -1).astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    return vectors[norms > 0] / norms[norms > 0, None]


def _text_sums(linked: DataFrame, items: DataFrame, settings: TermSettings, variant: str) -> DataFrame:
    """One row of sums over the texts of cases, in a single chain: nothing is computed twice or kept.

    Counts ride along on one row of each item and each latent, that of its first term.
    """
    of_item, of_latent = Window.partitionBy("item_id"), Window.partitionBy("latent_id")
    term = F.struct("term", "kind")
    unit_texts = _weighted_terms(linked, items, settings).select(
        "item_id",
        "term",
        "kind",
        (F.col("weight") / F.sqrt(F.sum(F.col("weight") ** 2).over(of_item))).alias("component"),
        (term == F.min(term).over(of_item)).cast("int").alias("texts"),
    )
    totals = (
        unit_texts.join(F.broadcast(linked), "item_id", "inner")
        .repartition("latent_id")  # serves the sums by latent and term and the windows
        .groupBy("latent_id", "term", "kind")
        .agg(F.sum("component").alias("component"), F.sum("texts").alias("texts"))
        .select(
            "latent_id",
            "term",
            "kind",
            "component",
            F.sum(F.col("component") ** 2).over(of_latent).alias("square"),
            F.sum("texts").over(of_latent).alias("n"),
            (term == F.min(term).over(of_latent)).alias("first"),
        )
        .where("n >= 2")
    )
    coherence = (F.col("square") - F.col("n")) / (F.col("n") * (F.col("n") - 1))
    by_term = totals.groupBy(dictionary_of().alias("dictionary"), "term", "kind").agg(
        F.sum(F.col("component") / F.sqrt("square")).alias("direction_sum"),
        F.count_if("first").alias("latents"),
        F.sum(F.when(F.col("first"), coherence)).alias("coherence"),
    )
    return (
        by_term.groupBy("dictionary")
        .agg(
            F.coalesce(F.sum("latents"), F.lit(0)).alias("latents"),
            F.coalesce(F.sum("coherence"), F.lit(0.0)).alias("coherence"),
            F.coalesce(F.sum("latents"), F.lit(0)).alias("centroids"),
            F.sum(F.col("direction_sum") ** 2).alias("square"),
        )
        .withColumn("variant", F.lit(variant))
    )


def _weighted_terms(linked: DataFrame, items: DataFrame, settings: TermSettings) -> DataFrame:
    """Return (item_id, term, kind, weight), tf times idf over the catalogue, of the linked items only."""
    items = items.drop("derived_features")  # they are no text: coherence stays comparable with that of earlier audits
    # By item before the terms: a shuffle of items instead of one of all their terms.
    catalogue = item_terms(items.repartition("item_id"), settings)
    frequencies = catalogue.groupBy("term", "kind").agg(F.count(F.lit(1)).alias("document_frequency"))
    size = items.agg(F.count(F.lit(1)).alias("items"))
    needed = items.join(F.broadcast(linked.select("item_id")), "item_id", "left_semi")
    idf = F.log((1 + F.col("items")) / (1 + F.col("document_frequency"))) + 1
    return (
        item_terms(needed, settings)
        .join(frequencies, ["term", "kind"], "inner")
        .crossJoin(F.broadcast(size))
        .select("item_id", "term", "kind", (F.col("occurrences") * idf).alias("weight"))
    )
