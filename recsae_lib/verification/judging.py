"""Verification of units from end to end: cases of both halves, term scorer, association, scores, both judges."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.association import best_feature_auc
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.item_terms import item_term_arrays
from recsae_lib.concepts.levels import activation_levels, level_edges
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.config import Judge, Settings
from recsae_lib.errors import InputError
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.verification.agreement import interpretable_by_both
from recsae_lib.verification.cases import select_cases
from recsae_lib.verification.llm_judge import read_judged_cases
from recsae_lib.verification.sample_size import cases_of_each_kind
from recsae_lib.verification.scores import score_concepts, score_shuffled
from recsae_lib.verification.shuffled_labels import shuffle_labels, shuffled_terms
from recsae_lib.verification.term_judge import judge_by_terms


@dataclass(frozen=True)
class Verdicts:
    """What the term scorer said of the held-out cases.

    Parameters
    ----------
    judged : (latent_id, user_id, kind, fires, judged, judged_by_shuffled, judge); kept by Spark until `release`.
    scores : one row a live unit, `SCORE_COLUMNS`.
    """

    judged: DataFrame
    scores: DataFrame

    @property
    def cases(self) -> DataFrame:
        """Cases as the units' own terms judged them: (latent_id, user_id, kind, fires, judged, judge)."""
        return self.judged.drop("judged_by_shuffled")

    def release(self) -> None:
        """Let Spark forget the cases."""
        free(self.judged)


@dataclass(frozen=True)
class BothVerdicts:
    """What both judges said of the held-out cases: rows of verification_cases, concept_scores, verification_rejects."""

    cases: DataFrame
    scores: DataFrame
    rejects: DataFrame


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
    latent_items: DataFrame,
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
    latent_items : evidence of the units, by which their neighbours are found.
    shuffled : (latent_id, label_of), see `shuffle_labels`: whose terms judge the same cases once more; none where not
        given.
    """
    verification, salt = settings.verification, settings.evidence.salt
    users = activations.withColumn("construct", in_construct_half(F.col("user_id"), salt))
    edges = level_edges(activations)
    cases = select_cases(
        activation_levels(users, edges).select("construct", "user_id", "latent_ids", "latent_id", "level"),
        users.select("construct", "user_id"),
        neighbours_of(latent_items, verification.neighbours),
        cases_of_each_kind(verification),
        verification,
        settings.seed,
    )
    terms = item_term_arrays(items, settings.terms)
    of_others = None if shuffled is None else shuffled_terms(concept_terms, shuffled)
    # Read several times, for the table of cases, the scores and the other judge, and expensive.
    judged = keep(judge_by_terms(cases, linked, terms, concept_terms, of_others).withColumn("judge", F.lit("terms")))
    association = best_feature_auc(activations, linked, items, verification, salt, settings.seed)
    return Verdicts(judged, score_concepts(judged, "terms", edges.select("latent_id"), association, verification))


def verify_latents(
    activations: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    settings: Settings,
) -> tuple[Verdicts, DataFrame]:
    """Judge the latents of an audit as `verify_units` does, by their own labels and by shuffled ones.

    Returns
    -------
    tuple[Verdicts, DataFrame] : the first, whose scores are rows of concept_scores, and rows of shuffled_scores.
    """
    shuffled = shuffle_labels(concept_terms, settings.seed)
    verdicts = verify_units(activations, linked, items, concept_terms, latent_items, settings, shuffled)
    by_shuffled = verdicts.judged.withColumn("judged", F.col("judged_by_shuffled"))
    shuffled_scores = score_shuffled(by_shuffled, verdicts.scores, shuffled, settings.verification)
    return Verdicts(verdicts.judged, verdicts.scores.withColumns(_origin_columns(None, None))), shuffled_scores


def add_llm_verdicts(ledger: Ledger, cases: DataFrame, scores: DataFrame, settings: Settings) -> BothVerdicts:
    """Read what a language model says of the cases, and add it to what the term scorer says of them.

    Which latents live, and their best features, the scores of the term scorer say; those of the language model that
    are there already are replaced.

    Parameters
    ----------
    ledger : on the file of `write_judge_requests`, after `transports.collect`.
    cases, scores : verification_cases and concept_scores.
    """
    cases, scores = (rows.where("judge = 'terms'").drop("dt", "sae_version") for rows in (cases, scores))
    by_llm = read_judged_cases(ledger, cases, settings.verification, settings.seed)
    llm_scores = score_concepts(by_llm.cases, "llm", scores, scores, settings.verification)
    return BothVerdicts(
        cases.unionByName(by_llm.cases.withColumn("judge", F.lit("llm"))),
        scores.unionByName(llm_scores.withColumns(_origin_columns(*by_llm.origin))),
        by_llm.rejects,
    )


def verdicts_line(cases: DataFrame, rejects: DataFrame, scores: DataFrame, shuffled: DataFrame) -> str:
    """How many concepts each judge calls interpretable, beside the shuffled labels, as people read it.

    Parameters
    ----------
    cases, rejects, scores, shuffled : verification_cases, verification_rejects, concept_scores and shuffled_scores.
    """
    found = scores.where("interpretable").groupBy("judge").count().orderBy("judge").collect()  # one row for each judge
    by_judge = ", ".join(f"{row['count']:,} by judge {row['judge']}" for row in found) or "none"
    if scores.select("judge").distinct().count() > 1:
        by_judge += f", {interpretable_by_both(scores):,} by both"
    return (
        f"{cases.count():,} cases, {rejects.count():,} refused answers; of {shuffled.count():,} latents interpretable: "
        f"{by_judge}; with shuffled labels: {shuffled.where('interpretable').count():,}"
    )


def _origin_columns(llm_model: str | None, prompt_version: str | None) -> dict[str, Column]:
    """Columns that say which language model judged under which prompt; nulls for the term scorer."""
    return {
        "llm_model": F.lit(llm_model).cast("string"),
        "prompt_version": F.lit(prompt_version).cast("string"),
    }
