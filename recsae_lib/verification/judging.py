"""Verification of units from end to end: cases of both halves, term scorer, association, scores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.association import best_feature_auc
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.item_terms import item_term_arrays
from recsae_lib.concepts.levels import activation_levels, level_edges
from recsae_lib.config import Judge, Settings
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.verification.cases import select_cases
from recsae_lib.verification.sample_size import cases_of_each_kind
from recsae_lib.verification.scores import score_concepts
from recsae_lib.verification.term_judge import judge_by_terms


@dataclass(frozen=True)
class Verdicts:
    """What the term scorer said of the held-out cases.

    Parameters
    ----------
    cases : (latent_id, user_id, kind, fires, judged, judged_by_shuffled, judge); kept by Spark until `release`.
    scores : one row a live latent, `SCORE_COLUMNS`.
    """

    cases: DataFrame
    scores: DataFrame

    def release(self) -> None:
        """Let Spark forget the cases."""
        free(self.cases)


def require_all_judges(scores: DataFrame, judges: Collection[Judge], dt: date) -> None:
    """Refuse the scores of an audit whose judge llm was asked and not collected: they are the term scorer's alone.

    Parameters
    ----------
    scores : (judge, …)
    judges : that the settings name.

    Raises
    ------
    InputError : the language model's are missing.
    """
    if "llm" in judges and [row["judge"] for row in scores.select("judge").distinct().collect()] == ["terms"]:
        raise InputError(
            f"The verdicts of judge llm for {dt} were not collected", "Run verify_concepts with --step collect"
        )


def verify_units(
    activations: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    concept_terms: DataFrame,
    neighbours: DataFrame,
    settings: Settings,
    shuffled: DataFrame | None = None,
) -> Verdicts:
    """Judge every live unit by the term scorer on users of the verify half (METHOD.md section 6).

    The construct half built the terms and sets the thresholds; only the verify half judges. The scores are computed
    before this returns.

    Parameters
    ----------
    activations : (user_id, latent_ids, activations) of all users.
    linked : (user_id, item_ids).
    items : (item_id, title, text, features).
    concept_terms : terms of the units, built on the construct half.
    neighbours : (latent_id, neighbour_id, rank).
    shuffled : terms of another unit under the id of each, to be tried on the same cases; none where not given.
    """
    verification, salt = settings.verification, settings.evidence.salt
    users = activations.withColumn("construct", in_construct_half(F.col("user_id"), salt))
    edges = level_edges(activations)
    cases = select_cases(
        activation_levels(users, edges).select("construct", "user_id", "latent_ids", "latent_id", "level"),
        users.select("construct", "user_id"),
        neighbours,
        cases_of_each_kind(verification),
        verification,
        settings.seed,
    )
    terms = item_term_arrays(items, settings.terms)
    # Read several times, for the table of cases, the scores and the other judge, and expensive.
    judged = keep(judge_by_terms(cases, linked, terms, concept_terms, shuffled).withColumn("judge", F.lit("terms")))
    association = best_feature_auc(activations, linked, items, verification, salt, settings.seed)
    return Verdicts(judged, score_concepts(judged, "terms", edges.select("latent_id"), association, verification))
