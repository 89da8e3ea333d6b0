"""The table that people query: one row a live latent, label and scores and reach joined."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.concepts.confirmation import is_causal, is_found_again
from recsae_lib.concepts.listing import evidence
from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.read_point import ReadPoint
from recsae_lib.platform.warehouse.spark_rows import SparkRows
from recsae_lib.platform.warehouse.store import Warehouse


def latent_reach(activations: DataFrame) -> DataFrame:
    """How many users each live latent fires for, and how strongly.

    Parameters
    ----------
    activations : (user_id, latent_ids, activations), one row a user.

    Returns
    -------
    DataFrame : (latent_id, active_users, density, mean_activation); density is active_users over all users.
    """
    users = activations.agg(F.count(F.lit(1)).alias("users_in_all"))
    pairs = activations.select(F.explode(F.arrays_zip("latent_ids", "activations")).alias("pair")).select(
        F.col("pair.latent_ids").alias("latent_id"), F.col("pair.activations").cast("double").alias("activation")
    )
    return (
        pairs.groupBy("latent_id")
        .agg(F.count(F.lit(1)).alias("active_users"), F.avg("activation").alias("mean_activation"))
        .crossJoin(F.broadcast(users))
        .select(
            "latent_id",
            "active_users",
            (F.col("active_users") / F.col("users_in_all")).alias("density"),
            "mean_activation",
        )
    )


def build_concepts(
    activations: DataFrame,
    labels: DataFrame,
    scores: DataFrame,
    twins: DataFrame,
    artefacts: DataFrame,
    effects: DataFrame,
    settings: VerificationSettings,
) -> DataFrame:
    """Join what is known of each live latent; all inputs are of M rows once `activations` is aggregated.

    Where a language model judged as well, its score goes before the term scorer's. Every judge has a row for every
    live latent, so that all concepts carry the score of the same judge: one without a valid answer of the language
    model has no confidence, rather than one of another kind. Interpretable is what every judge calls so: a text that
    steers the language model does not steer the term scorer. An unlabelled latent is never interpretable: there is
    nothing to judge it by. Confirmed is what is interpretable, and by `concepts.confirmation` causal and found again.

    Parameters
    ----------
    activations, labels, scores : as the tables latent_activations, concept_labels and concept_scores.
    twins : (latent_id, same_as), see `duplicates.same_as`.
    artefacts : (latent_id, artefact, artefact_p_value), see `artefacts.item_artefacts`.
    effects : as the table latent_effects.
    settings : `minimum_removal`, `minimum_found_again` and `significance` are read.
    """
    of_latent = Window.partitionBy("latent_id")
    first_judge = of_latent.orderBy(F.when(F.col("judge") == "llm", 0).otherwise(1), "judge")
    by_all = F.every("interpretable").over(of_latent)
    # Only the term scorer scores users one against the other.
    aucs = {name: F.max(name).over(of_latent) for name in ("auc", "hard_auc")}
    verdicts = scores.withColumns({"order": F.row_number().over(first_judge), "interpretable": by_all, **aucs}).where(
        "order = 1"
    )
    interpretable = F.coalesce("interpretable", F.lit(False)) & (F.col("status") == "labelled")
    made_by_training = is_causal(verdicts, settings) & is_found_again(verdicts, settings)
    return (
        latent_reach(activations)
        .join(labels, "latent_id", how="left")
        .join(verdicts.drop("dt", "sae_version"), "latent_id", how="left")
        .join(twins, "latent_id", how="left")
        .join(artefacts, "latent_id", how="left")
        .join(output_features(effects, settings.significance), "latent_id", how="left")
        .select(
            "latent_id",
            "label",
            "description",
            labels["features"].alias("features"),
            "interpreter",
            "status",
            "judge",
            "confidence",
            "confidence_low",
            "confidence_high",
            "q_value",
            interpretable.alias("interpretable"),
            "best_feature",
            "best_feature_auc",
            "active_users",
            "density",
            "mean_activation",
            "auc",
            "hard_auc",
            *(f"removal_{name}" for name in ("effect", "low", "high", "other", "p_value")),
            "found_again",
            "found_again_id",
            (interpretable & F.coalesce(made_by_training, F.lit(False))).alias("confirmed"),
            "same_as",
            "artefact",
            "artefact_p_value",
            "output_feature",
            "output_score",
        )
    )


def output_features(effects: DataFrame, significance: float) -> DataFrame:
    """The item feature that each latent pushes up most, where luck does not push one as far (METHOD.md section 8).

    Parameters
    ----------
    effects : as the table latent_effects.
    significance : the q-value must be lower.

    Returns
    -------
    DataFrame : (latent_id, output_feature, output_score).
    """
    first = effects.where((F.col("kind") == "feature") & (F.col("rank") == 1))
    return first.where((F.col("output_score") > 0) & (F.col("q_value") < significance)).select(
        "latent_id", F.col("feature").alias("output_feature"), "output_score"
    )


def published_evidence(
    warehouse: Warehouse, point: ReadPoint, latents: list[int], depth: int
) -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
    """Terms and items of latents (`listing.evidence`) by Spark; none where nothing is published.

    Parameters
    ----------
    point : the audit that is read.
    """
    return ({}, {}) if point.latest is None else evidence(SparkRows(warehouse, point.latest), latents, depth)
