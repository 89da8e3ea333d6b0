"""The rows of audit_metrics: how many units of each kind live, are judged and pass, and what was measured before."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.association import NAMED_BY_CHANCE
from recsae_lib.concepts.coherence import coherence_metrics
from recsae_lib.config import Settings, VerificationSettings
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.verification.agreement import judge_agreement
from recsae_lib.verification.known_cases import MISJUDGED
from recsae_lib.verification.sample_size import cases_of_each_kind
from recsae_lib.verification.scores import expected_by_chance
from recsae_lib.verification.units import Units

Metrics = dict[tuple[UnitKind, str], float | None]

VERDICT = ["cases", "interpretable", "confidence"]
LARGEST_FVU = 10.0  # of a user; more is counted as this
ASSOCIATION = ["best_feature", "best_feature_auc", "best_feature_p_value"]


def unit_metrics(
    units: Units, representations: DataFrame, embeddings: DataFrame, items: DataFrame, settings: Settings
) -> Metrics:
    """Measure the units of one kind by the term scorer, and how alike their cases are (METHOD.md section 7).

    A latent has the same users and items whatever its label: of shuffled labels only the verdicts are measured.

    Parameters
    ----------
    representations : (user_id, representation ARRAY<FLOAT>), one row a user.
    embeddings : (item_id, embedding ARRAY<FLOAT>), one row an item.
    items : (item_id, title, text, features), the catalogue.
    """
    shuffled = units.kind == UnitKind.SHUFFLED
    scores: pd.DataFrame = units.scores.select(VERDICT if shuffled else VERDICT + ASSOCIATION).toPandas()  # M rows
    metrics = verdict_metrics(scores, settings.verification)
    if not shuffled:
        cases = settings.coverage.coherence_cases
        evidence = units.activations, units.latent_items, representations, embeddings, items
        metrics |= association_metrics(scores)
        metrics |= coherence_metrics(*evidence, settings.terms, cases)
    return {(units.kind, name): value for name, value in metrics.items()}


def verdict_metrics(scores: pd.DataFrame, settings: VerificationSettings) -> dict[str, float | None]:
    """Count live, judged and interpretable units, beside the number that a coin as judge would let pass.

    Parameters
    ----------
    scores : (cases, interpretable, confidence), one row a live unit; confidence is NaN without cases.

    Returns
    -------
    dict : the tenth, half and nine tenths of the judged units have at most confidence_p10, p50, p90.
    """
    confidences = scores["confidence"].dropna()
    spread = confidences.quantile([0.1, 0.5, 0.9], interpolation="lower") if len(confidences) else None
    return {
        "live_units": float(len(scores)),
        "judged_units": float((scores["cases"] > 0).sum()),
        "fully_judged_units": float((scores["cases"] == 2 * cases_of_each_kind(settings)).sum()),
        "interpretable_units": float(scores["interpretable"].sum()),
        "interpretable_units_expected_by_chance": expected_by_chance(scores["cases"], settings),
        "mean_confidence": mean(confidences),
        **{f"confidence_p{q * 100:.0f}": None if spread is None else float(spread[q]) for q in (0.1, 0.5, 0.9)},
    }


def association_metrics(scores: pd.DataFrame) -> dict[str, float | None]:
    """Count the units with a best feature, beside the number that would get one by chance.

    Parameters
    ----------
    scores : (best_feature, best_feature_auc, best_feature_p_value), one row a live unit; missing where a unit has none.
    """
    return {
        "best_feature_units": float(scores["best_feature"].notna().sum()),
        "best_feature_units_expected_by_chance": NAMED_BY_CHANCE * float(scores["best_feature_p_value"].notna().sum()),
        "mean_best_feature_auc": mean(scores["best_feature_auc"].dropna()),
    }


def user_metrics(activations: DataFrame) -> Metrics:
    """Measure how well each user is reconstructed, a user being one however far out (METHOD.md section 2).

    Parameters
    ----------
    activations : latent_activations of all users.
    """
    capped = F.when(F.col("fvu") > LARGEST_FVU, LARGEST_FVU).otherwise(F.col("fvu"))
    fvu = F.bround(capped, 4)  # so that quantiles are exact, of few distinct values
    row = activations.agg(
        F.percentile(fvu, [0.5, 0.9]).alias("quantiles"),
        F.avg((F.col("fvu") > 1).cast("int")).alias("worse"),
        F.count_if(F.col("distance") > 1).alias("beyond"),
    ).first()
    assert row is not None  # an aggregate without groups has one row
    median, p90 = row["quantiles"] or (None, None)
    named = {"fvu_by_user_median": median, "fvu_by_user_p90": p90, "worse_than_mean_share": row["worse"]}
    named["users_beyond_reach"] = float(row["beyond"])
    return {(UnitKind.SAE, name): value for name, value in named.items()}


def llm_metrics(scores: DataFrame, cases: DataFrame, rejects: DataFrame, settings: VerificationSettings) -> Metrics:
    """Measure the SAE's latents by judge llm, and how far it agrees with the term scorer.

    Parameters
    ----------
    scores : concept_scores of both judges.
    cases : verification_cases of both judges.
    rejects : (reason), answers of the language model that could not be used.
    """
    by_llm: pd.DataFrame = scores.where("judge = 'llm'").select(VERDICT).toPandas()  # M rows
    metrics = {
        **{f"llm_{name}": value for name, value in verdict_metrics(by_llm, settings).items()},
        **judge_agreement(cases, scores),
        "llm_refused_answers": float(rejects.count()),
        "llm_known_cases_misjudged": float(rejects.where(F.col("reason") == MISJUDGED).count()),
    }
    return {(UnitKind.SAE, name): value for name, value in metrics.items()}


def recorded_metrics(
    of_recommender: Mapping[str, float], of_sae: Mapping[str, float], rejected: int, accepted: int
) -> Metrics:
    """Sort by unit kind what earlier jobs measured.

    Parameters
    ----------
    of_recommender : as in MLflow: ``test_…`` is of the recommender, ``popularity_…`` and ``item_knn_…`` of baselines.
    of_sae : ``reconstructed_…`` is of x̂ in place of x; the others are of the SAE, but for those of x and of epochs.
    rejected, accepted : raw rows that ingestion refused, and that it wrote.
    """
    metrics: Metrics = {(UnitKind.SAE, "reject_share"): rejected / max(rejected + accepted, 1)}
    prefixes = {"test_": UnitKind.RECOMMENDER, "popularity_": UnitKind.POPULARITY, "item_knn_": UnitKind.ITEM_KNN}
    for name, value in of_recommender.items():
        for prefix, kind in prefixes.items():
            if name.startswith(prefix):
                metrics[kind, name.removeprefix(prefix)] = value
    for name, value in of_sae.items():
        if name.startswith("reconstructed_"):
            metrics[UnitKind.RECONSTRUCTED, name.removeprefix("reconstructed_")] = value
        elif not name.startswith(("original_", "epoch_")):
            metrics[UnitKind.SAE, name] = value
    return metrics


def counts_line(kind: UnitKind, metrics: Metrics) -> str:
    """The counts of one kind as people read them."""
    live, passed, by_chance = (
        metrics[kind, name] or 0.0
        for name in ("live_units", "interpretable_units", "interpretable_units_expected_by_chance")
    )
    return f"{kind}: {live:.0f} live units, {passed:.0f} interpretable, {by_chance:.2f} expected by chance"


def mean(values: pd.Series) -> float | None:
    """Mean that does not depend on the order of the rows, by an exact sum; None of nothing."""
    return math.fsum(values) / len(values) if len(values) else None
