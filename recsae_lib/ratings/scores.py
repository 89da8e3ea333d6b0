"""What people say of the concepts of a sample: relevance, agreement, the raters themselves, and the judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import krippendorff
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

SCALE = (1, 2, 3, 4)
CANNOT_TELL = 0  # an answer that is no rating: counted, and left out of everything else
RELEVANT = 3  # mean rating from which people call a label right
LOW = 2  # rating up to which a wrong label is seen through
TOLERANCE = 1  # between two ratings of the same case
FEWEST_CHECKS = 3  # of a sort that say something of a rater
PASSING_SHARE = 0.7  # of the checks of each sort that an attentive rater passes
STRAIGHT_LINE = 10  # cases from which one and the same rating for all of them is inattentive
RESAMPLES = 2_000
INTERVAL = 0.95


@dataclass(frozen=True)
class RatingMetric:
    """One figure; see `rating_metrics` for the names.

    Parameters
    ----------
    raters : all, or attentive.
    subject : concepts, interpretable, not interpretable, ``stratum: NAME`` or ``rater: NAME``.
    """

    raters: str
    subject: str
    metric: str
    value: float | None


def rating_metrics(ratings: pd.DataFrame, key: pd.DataFrame, seed: int) -> list[RatingMetric]:
    """Compute every figure twice: from all raters, and from those who pass the checks.

    With r̄_c the mean rating of concept c over its raters (checks left out):

    - ``mean_relevance`` of a group of concepts: Σ_h N_h r̄_h / Σ_h N_h over the strata h in it, r̄_h the mean of r̄_c over
      the rated concepts of the stratum and N_h its published concepts: what all of them together would get.
      ``mean_relevance_low`` and ``_high``: 95 % interval, percentile bootstrap of 2,000 resamples of concepts within
      strata, the raters as they are; null with fewer than two concepts.
    - ``krippendorff_alpha``: ordinal, over the concepts.
    - ``spearman_confidence`` of the judge's confidence with r̄_c; ``auc_confidence`` and ``auc_interpretable``: ROC-AUC
      of confidence and of the verdict against r̄_c ≥ 3. Over the sampled concepts, each counted once.
    - ``cannot_tell_share`` of a group: share of the answers about its concepts that are 0. They count nowhere else: a
      concept of which nobody can tell is not among the ``concepts`` rated.
    - of each rater what `rater_metrics` says.

    Parameters
    ----------
    ratings : (case_id, rater, rating), at most one row a case and rater; a rating of 0 says: cannot tell.
    key : rows of the table rating_samples of the sample.
    seed : seed of the bootstrap.
    """
    joined = ratings.merge(key, on="case_id", how="inner", validate="many_to_one")
    of_raters = rater_metrics(joined)
    inattentive = [rater for rater, figures in of_raters.items() if figures["attentive"] == 0.0]
    metrics = [
        RatingMetric("all", f"rater: {rater}", name, value)
        for rater, figures in of_raters.items()
        for name, value in figures.items()
    ]
    for raters, kept in (("all", joined), ("attentive", joined[~joined["rater"].isin(inattentive)])):
        concepts = concept_means(kept)
        overall = {
            "raters": float(kept["rater"].nunique()),
            "krippendorff_alpha": ordinal_alpha(kept),
            **agreement_with_judge(concepts),
        }
        metrics += [RatingMetric(raters, "concepts", name, value) for name, value in overall.items()]
        rated = _groups(concepts)
        for subject, answers in _groups(kept[kept["kind"] == "concept"]).items():
            figures = relevance(rated.get(subject, concepts.iloc[:0]), seed)
            figures["cannot_tell_share"] = _share(answers["rating"] == CANNOT_TELL)
            metrics += [RatingMetric(raters, subject, name, value) for name, value in figures.items()]
    return metrics


def _groups(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows about concepts, by the subjects that they belong to."""
    interpretable = rows["interpretable"].astype(bool)
    return {
        "concepts": rows,
        "interpretable": rows[interpretable],
        "not interpretable": rows[~interpretable],
        **{f"stratum: {name}": of_stratum for name, of_stratum in rows.groupby("stratum")},
    }


def _judged(joined: pd.DataFrame) -> pd.DataFrame:
    return joined[joined["rating"] != CANNOT_TELL]


def concept_means(joined: pd.DataFrame) -> pd.DataFrame:
    """Mean rating of each concept over its raters: (latent_id, stratum, stratum_concepts, confidence, interpretable,
    mean); repeats, wrong labels and who cannot tell do not count.
    """
    joined = _judged(joined)
    by = ["latent_id", "stratum", "stratum_concepts", "confidence", "interpretable"]
    concepts = joined[joined["kind"] == "concept"].astype({"interpretable": bool, "confidence": float})
    return concepts.groupby(by, dropna=False)["rating"].mean().rename("mean").reset_index()


def relevance(concepts: pd.DataFrame, seed: int) -> dict[str, float | None]:
    """Mean relevance of a group of concepts with its interval (equation in `rating_metrics`).

    Parameters
    ----------
    concepts : from `concept_means`.
    """
    strata = [
        (rows["mean"].to_numpy(dtype=float), float(rows["stratum_concepts"].iloc[0]))
        for _, rows in concepts.groupby("stratum")
    ]
    figures: dict[str, float | None] = {"concepts": float(len(concepts)), "mean_relevance": None}
    figures |= {"mean_relevance_low": None, "mean_relevance_high": None}
    if strata:
        all_concepts = sum(size for _, size in strata)
        figures["mean_relevance"] = float(sum(size * means.mean() for means, size in strata) / all_concepts)
        if len(concepts) > 1:
            random = np.random.default_rng(seed)
            resampled = sum(size * random.choice(means, (RESAMPLES, len(means))).mean(axis=1) for means, size in strata)
            outside = (1 - INTERVAL) / 2
            low, high = np.quantile(resampled / all_concepts, [outside, 1 - outside])
            figures |= {"mean_relevance_low": float(low), "mean_relevance_high": float(high)}
    return figures


def ordinal_alpha(joined: pd.DataFrame) -> float | None:
    """Krippendorff's alpha for ordinal ratings of concepts; None where no two raters share one, or nothing varies.

    α = 1 − Σ o_ck δ²_ck / Σ e_ck δ²_ck    δ²_ck = (Σ_{g=c..k} n_g − (n_c + n_k)/2)²
    """
    concepts = _judged(joined[joined["kind"] == "concept"])
    shared = concepts[concepts.groupby("case_id")["rating"].transform("size") > 1]
    if shared["rating"].nunique() < 2:
        return None
    matrix = shared.pivot(index="rater", columns="case_id", values="rating").to_numpy(dtype=float)
    return float(krippendorff.alpha(matrix, value_domain=SCALE, level_of_measurement="ordinal"))


def agreement_with_judge(concepts: pd.DataFrame) -> dict[str, float | None]:
    """Spearman's rank correlation and ROC-AUC of the judge against people; None where one side does not vary."""
    judged = concepts[concepts["confidence"].notna()]
    correlation = None
    if judged["confidence"].nunique() > 1 and judged["mean"].nunique() > 1:
        correlation = float(spearmanr(judged["confidence"], judged["mean"]).statistic)
    return {
        "spearman_confidence": correlation,
        "auc_confidence": _auc(judged["mean"] >= RELEVANT, judged["confidence"]),
        "auc_interpretable": _auc(concepts["mean"] >= RELEVANT, concepts["interpretable"]),
    }


def rater_metrics(joined: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Judge the raters by the checks and by each other.

    - ``ratings`` and ``mean`` of the concepts rated; ``bias``: mean over concepts of the own rating minus the mean of
      the other raters' ratings; None where no concept is shared.
    - ``wrong_labels_low``: share of the wrong labels rated 1 or 2; ``repeats_close``: share of the repeats rated within
      1 of the first rating; None without such checks.
    - ``cannot_tell_share``: share of the concepts of which the rater cannot tell; nothing else counts these answers.
    - ``attentive``: 1 where both shares (each of 3 checks or more) are at least 0.7 and not all of 10 cases or more got
      the same rating, else 0. Chance passes 5 + 5 checks in 7 of 100 cases.
    """
    concepts = _judged(joined[joined["kind"] == "concept"]).copy()
    by_case = concepts.groupby("case_id")["rating"]
    others = by_case.transform("size") - 1
    concepts["bias"] = concepts["rating"] - (by_case.transform("sum") - concepts["rating"]) / others.where(others > 0)
    figures: dict[str, dict[str, float | None]] = {}
    for rater, answers in joined.groupby("rater"):
        rows = _judged(answers)
        own = concepts[concepts["rater"] == rater]
        first = own.set_index("latent_id")["rating"]
        repeats = rows[rows["kind"] == "repeat"].set_index("latent_id")["rating"]
        distance = (repeats - first).dropna().abs()
        low = _share(rows.loc[rows["kind"] == "wrong_label", "rating"] <= LOW)
        close = _share(distance <= TOLERANCE)
        checks = ((low, (rows["kind"] == "wrong_label").sum()), (close, len(distance)))
        passes = all(share is None or number < FEWEST_CHECKS or share >= PASSING_SHARE for share, number in checks)
        figures[str(rater)] = {
            "ratings": float(len(own)),
            "mean": _mean(own["rating"]),
            "bias": _mean(own["bias"].dropna()),
            "wrong_labels_low": low,
            "repeats_close": close,
            "cannot_tell_share": _share(answers.loc[answers["kind"] == "concept", "rating"] == CANNOT_TELL),
            "attentive": float(passes and (len(rows) < STRAIGHT_LINE or rows["rating"].nunique() > 1)),
        }
    return figures


def figures_of(metrics: list[RatingMetric], raters: str, subject: str) -> Mapping[str, float | None]:
    """Figures of one subject by name."""
    return {metric.metric: metric.value for metric in metrics if (metric.raters, metric.subject) == (raters, subject)}


def _auc(right: pd.Series, scores: pd.Series) -> float | None:
    return float(roc_auc_score(right, scores.astype(float))) if right.nunique() > 1 else None


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(passed: pd.Series) -> float | None:
    return _mean(passed.astype(float))
