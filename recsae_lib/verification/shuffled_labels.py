"""Shuffled labels: the null of verification. Every latent is judged once more, by the terms of another latent."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def shuffle_labels(concept_terms: DataFrame, seed: int) -> DataFrame:
    """Give each latent that has terms the terms of another one, each to one (METHOD.md section 6; ours).

    The latents stand in a ring in seeded order, and each takes the terms of the next: none keeps its own. Whatever
    judge, cases and thresholds make of labels that say nothing about their latents, shows in the scores of these. Two
    latents about the same thing may get each other's terms, which are then right: the share of shuffled labels that
    pass is also a measure of how little the labels tell latents apart.

    The ids of the latents, M integers, are collected.

    Parameters
    ----------
    concept_terms : (latent_id, …); who has terms fires for somebody, so only live latents stand here.
    seed : another seed is another order.

    Returns
    -------
    DataFrame : (latent_id INT, label_of INT), in no order; no row for a latent without terms, or with terms alone.
    """
    described: pd.DataFrame = concept_terms.select("latent_id").distinct().toPandas()
    ring = np.random.default_rng(seed).permutation(np.sort(described["latent_id"].to_numpy(dtype=np.int32)))
    rows = pd.DataFrame({"latent_id": ring, "label_of": np.roll(ring, -1)})
    spark = concept_terms.sparkSession
    columns = "latent_id int, label_of int"
    return spark.createDataFrame(rows, columns) if len(ring) > 1 else spark.createDataFrame([], columns)


def shuffled_terms(concept_terms: DataFrame, shuffled: DataFrame) -> DataFrame:
    """Give the terms of `label_of` the id `latent_id`.

    Parameters
    ----------
    concept_terms : (latent_id, …).
    shuffled : (latent_id, label_of), see `shuffle_labels`.

    Returns
    -------
    DataFrame : the columns of `concept_terms`.
    """
    return (
        concept_terms.withColumnRenamed("latent_id", "label_of")
        .join(F.broadcast(shuffled.where("label_of is not null").select("latent_id", "label_of")), "label_of", "inner")
        .select(*concept_terms.columns)
    )
