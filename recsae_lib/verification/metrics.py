"""The rows of audit_metrics: how many units of each kind live, are judged and pass, and what was measured before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.stats import t

from recsae_lib.concepts.association import NAMED_BY_CHANCE
from recsae_lib.concepts.confirmation import is_causal, is_found_again
from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.verification.agreement import judge_agreement
from recsae_lib.verification.known_cases import MISJUDGED
from recsae_lib.verification.sample_size import cases_of_each_kind
from recsae_lib.verification.scores import expected_by_chance, is_confirmed

Metrics = dict[tuple[UnitKind, str], float | None]

LARGEST_FVU = 10.0  # of a user; more is counted as this
FREQUENT = {"": 5, "_50": 50}  # items that carry a feature, by the suffix of the metric
# Figures that stand beside their mean and interval over dictionaries of other seeds.
OVER_SEEDS = (
    *("interpretable_units", "confirmed_units", "found_again_share", "mean_hard_auc", "mean_removal_effect"),
    *("mean_removal_equal_dose", "feature_coverage_of_interpretable", "feature_coverage_of_confirmed"),
    *("ndcg_at_10_kept", "fvu"),
)
SHARES = ("found_again_share", "mean_hard_auc", "feature_coverage_of_interpretable", "feature_coverage_of_confirmed")
COUNTS = ("interpretable_units", "confirmed_units", "ndcg_at_10_kept", "fvu")
# Of a dictionary of which only some units were judged: what grows with the units, and what cannot be told from some.
PROJECTED = (
    *("live_units", "interpretable_units", "interpretable_units_expected_by_chance", "confirmed_units"),
    *("causal_units", "found_again_units", "best_feature_units", "best_feature_units_expected_by_chance"),
)
REACHED = "feature_coverage_of_"
BOUNDS = {**dict.fromkeys(SHARES, (0.0, 1.0)), **dict.fromkeys(COUNTS, (0.0, math.inf))}


def dictionary_metrics(
    scores: pd.DataFrame,
    features: pd.DataFrame,
    frequent: Mapping[int, int],
    settings: VerificationSettings,
    live: int | None = None,
) -> dict[str, float | None]:
    """Measure the units of one dictionary by the term scorer (METHOD.md section 7).

    ::

        feature_coverage_of_X = share of the item features that at least 5 (``_50``: 50) items carry that are a
                                significant term of a unit of X; X: interpretable units, or confirmed ones

    Parameters
    ----------
    scores : `SCORE_COLUMNS`, one row a unit that was judged.
    features : (latent_id, term, items), frequent item features that are significant terms of the units, and how many
        items carry them.
    frequent : how many item features so many items carry, by the numbers of `FREQUENT`.
    live : units that fire for anybody, where only some of them were judged: counts of units are then projected onto
        these, and what names reach is not measured.
    """
    confirmed = is_confirmed(scores, settings)
    causal, found = is_causal(scores, settings), is_found_again(scores, settings)
    looked_for = scores["found_again"].notna()
    metrics = verdict_metrics(scores, settings) | {
        "confirmed_units": float(confirmed.sum()),
        "causal_units": float(causal.sum()),
        "found_again_units": float(found.sum()) if looked_for.any() else None,
        "found_again_share": float(found.sum() / looked_for.sum()) if looked_for.any() else None,
        **{f"mean_{name}": mean(scores[name].dropna()) for name in ("auc", "hard_auc", "removal_effect")},
        **{f"mean_{name}": mean(scores[name].dropna()) for name in ("removal_other", "removal_equal_dose")},
        **association_metrics(scores),
    }
    sets = {"interpretable": scores["interpretable"].to_numpy(bool), "confirmed": confirmed}
    for name, chosen in sets.items():
        of_set = features[features["latent_id"].isin(scores["latent_id"][chosen])]
        for suffix, fewest in FREQUENT.items():
            covered = of_set["term"][of_set["items"] >= fewest].nunique()
            share = covered / frequent[fewest] if frequent[fewest] else None
            metrics[f"{REACHED}{name}{suffix}"] = share
    return metrics if live is None or live == len(scores) else _projected(metrics, live / max(len(scores), 1))


def _projected(metrics: Mapping[str, float | None], times: float) -> dict[str, float | None]:
    """Metrics of units that were drawn, as those of all: so many times the counts."""

    def of_all(name: str, value: float | None) -> float | None:
        if name.startswith(REACHED):
            return None
        return value if value is None or name not in PROJECTED else value * times

    return {name: of_all(name, value) for name, value in metrics.items()}


def over_seeds(of_each: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Figures of the first dictionary of a kind, and mean and 95 % interval over those of all seeds.

    ::

        mean ± t sd / √n        sd with n − 1, t of Student at 97.5 % for n − 1; no interval of one dictionary

    Seeds are few: with two of them t is 12.7, with three 4.3, where the normal distribution has 1.96. Ends that counts
    and shares cannot reach are moved to the nearest that they can.

    Returns
    -------
    dict : the figures; ``X_mean``, ``X_low`` and ``X_high`` of `OVER_SEEDS`; and ``seeds``, n.
    """
    metrics: dict[str, float | None] = {**of_each[0], "seeds": float(len(of_each))}
    for name in OVER_SEEDS:
        values = [value for figures in of_each if (value := figures.get(name)) is not None]
        if len(values) > 1:
            n, middle = len(values), float(np.mean(values))
            error = float(t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
            least, most = BOUNDS.get(name, (-math.inf, math.inf))
            ends = {"low": max(least, middle - error), "high": min(most, middle + error)}
            metrics |= {f"{name}_mean": middle, **{f"{name}_{end}": value for end, value in ends.items()}}
    return metrics


def verdict_metrics(scores: pd.DataFrame, settings: VerificationSettings) -> dict[str, float | None]:
    """Count live, judged and interpretable units, beside the number that a coin as judge would let pass.

    Parameters
    ----------
    scores : (cases, effective_cases, interpretable, confidence), one row a live unit; confidence is NaN without cases.

    Returns
    -------
    dict : the tenth, half and nine tenths of the judged units have at most confidence_p10, p50, p90.
    """
    confidences = scores["confidence"].dropna()
    spread = confidences.quantile([0.1, 0.5, 0.9], interpolation="lower") if len(confidences) else None
    return {
        "live_units": float(len(scores)),
        "judged_units": float(scores["confidence"].notna().sum()),
        "interpretable_units": float(scores["interpretable"].sum()),
        "interpretable_units_expected_by_chance": expected_by_chance(scores["effective_cases"], settings),
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
    columns = ("cases", "effective_cases", "interpretable", "confidence")
    by_llm: pd.DataFrame = scores.where("judge = 'llm'").select(*columns).toPandas()  # M rows
    metrics = {
        "llm_fully_judged_units": float((by_llm["cases"] == 2 * cases_of_each_kind(settings)).sum()),
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
    live, passed, confirmed = (
        metrics.get((kind, name)) or 0.0 for name in ("live_units", "interpretable_units", "confirmed_units")
    )
    return f"{kind}: {live:.0f} live units, {passed:.0f} interpretable, {confirmed:.0f} confirmed"


def mean(values: pd.Series) -> float | None:
    """Mean that does not depend on the order of the rows, by an exact sum; None of nothing."""
    return math.fsum(values) / len(values) if len(values) else None
