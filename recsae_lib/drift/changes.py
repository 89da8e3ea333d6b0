"""What became of each concept between two audits: terms and labels of matched latents side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.levels import live_latents
from recsae_lib.concepts.matching import Followed
from recsae_lib.concepts.publication import latent_reach
from recsae_lib.config import DriftSettings
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.platform.warehouse.data_checks import is_vanished

CHANGES = ("stable", "drifted", "split", "merged", "born", "gone")


@dataclass(frozen=True)
class AuditedLatents:
    """The latents of one audit.

    Parameters
    ----------
    activations : (user_id, latent_ids, activations), one row a user.
    terms : concept_terms.
    labels : concept_labels.
    """

    activations: DataFrame
    terms: DataFrame
    labels: DataFrame

    def live(self) -> np.ndarray:
        """Latents that fire for anybody, (live,) int64, rising: at most M."""
        latents: pd.DataFrame = live_latents(self.activations).toPandas()
        return np.sort(latents["latent_id"].to_numpy(np.int64))

    def described(self, top_terms: int) -> DataFrame:
        """Return (latent_id, label, density, top_terms, tfidf), one row a live latent.

        ``top_terms`` are significant terms, best first, as far as there are any; ``tfidf`` maps all kept terms, and is
        null where there is none.
        """
        term = F.struct("rank", F.concat_ws(" ", "kind", "term").alias("key"), "tfidf", "term", "significant")
        of_latents = self.terms.groupBy("latent_id").agg(F.sort_array(F.collect_list(term)).alias("ranked"))
        significant = F.slice(F.filter("ranked", lambda one: one["significant"]), 1, top_terms)
        return (
            latent_reach(self.activations)
            .join(self.labels.select("latent_id", "label"), "latent_id", how="left")
            .join(of_latents, "latent_id", how="left")
            .select(
                "latent_id",
                "label",
                "density",
                F.coalesce(significant["term"], F.array().cast("array<string>")).alias("top_terms"),
                F.map_from_arrays(F.col("ranked.key"), F.col("ranked.tfidf")).alias("tfidf"),
            )
        )


def describe_changes(
    spark: SparkSession,
    followed: Iterable[Followed],
    previous: AuditedLatents,
    present: AuditedLatents,
    settings: DriftSettings,
) -> DataFrame:
    """Put both sides of every followed latent side by side and say what changed (METHOD.md section 9).

    ::

        cos(p, l) = Σ_t tfidf_pt tfidf_lt / (‖tfidf_p‖ ‖tfidf_l‖)       over the terms that are kept of either
        stable ⇔ matched, and cos ≥ minimum_term_similarity or neither has a term;  drifted ⇔ matched, otherwise

    Parameters
    ----------
    followed : see `follow_latents`.
    settings : minimum_term_similarity and top_terms are read.

    Returns
    -------
    DataFrame : concept_drift but for the columns that are the same for all rows; one row for each of `followed`.
    """
    rows = [
        (
            f"{'' if one.previous < 0 else one.previous}>{'' if one.latent < 0 else one.latent}",
            one.fate,
            None if one.previous < 0 else one.previous,
            None if one.latent < 0 else one.latent,
            None if one.previous < 0 or one.latent < 0 else one.similarity,
        )
        for one in followed
    ]
    schema = "pair string, fate string, previous_latent_id int, latent_id int, similarity double"
    then, now = (side.described(settings.top_terms) for side in (previous, present))
    then = then.select(*[F.col(name).alias(f"previous_{name}") for name in then.columns])
    cosine = F.round(_cosine(F.col("previous_tfidf"), F.col("tfidf")), 6)
    neither = F.col("previous_tfidf").isNull() & F.col("tfidf").isNull()
    similar = F.coalesce(F.col("term_similarity") >= settings.minimum_term_similarity, neither)
    none = F.array().cast("array<string>")
    top, previous_top = (F.coalesce(name, none) for name in ("top_terms", "previous_top_terms"))
    return (
        local_frame(spark, rows, schema)
        .join(then, "previous_latent_id", how="left")
        .join(now, "latent_id", how="left")
        .withColumn("term_similarity", cosine)
        .select(
            "pair",
            F.when(F.col("fate") != "matched", F.col("fate"))
            .when(similar, "stable")
            .otherwise("drifted")
            .alias("change"),
            "previous_latent_id",
            "latent_id",
            "similarity",
            "term_similarity",
            "previous_label",
            "label",
            F.array_except(top, previous_top).alias("terms_gained"),
            F.array_except(previous_top, top).alias("terms_lost"),
            "previous_density",
            "density",
        )
    )


def drift_metrics(changes: DataFrame) -> dict[str, float]:
    """How many latents had each fate, the share of stable ones, the mean similarity of those that were matched, and how
    many of these have no terms any more.
    """
    found = changes.groupBy("change").agg(F.count(F.lit(1)).alias("rows"), F.avg("similarity").alias("similarity"))
    by_change = {row["change"]: row for row in found.collect()}  # at most one row a change
    counts = {change: by_change[change]["rows"] if change in by_change else 0 for change in CHANGES}
    metrics = {f"{change}_latents": float(count) for change, count in counts.items()}
    metrics["vanished_terms_latents"] = float(changes.where(is_vanished()).count())
    if total := sum(counts.values()):
        metrics["stable_share"] = counts["stable"] / total
    if matched := counts["stable"] + counts["drifted"]:
        sums = (counts[change] * by_change[change]["similarity"] for change in ("stable", "drifted") if counts[change])
        metrics["mean_similarity"] = sum(sums) / matched
    return metrics


def _cosine(left: Column, right: Column) -> Column:
    """Cosine of two maps of term to tfidf; null where one of them is, or holds only zeros."""

    def norm(values: Column) -> Column:
        return F.sqrt(F.aggregate(F.map_values(values), F.lit(0.0), lambda total, value: total + value * value))

    product = F.aggregate(
        F.map_keys(left), F.lit(0.0), lambda total, term: total + left[term] * F.coalesce(right[term], F.lit(0.0))
    )
    length = norm(left) * norm(right)
    return F.when(length > 0, product / length)
