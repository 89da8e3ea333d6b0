"""Scores of concepts: how well a description predicts, on users it has not seen, where the latent fires."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.stats import binom, false_discovery_control

from recsae_lib.concepts.chance import units_by_chance
from recsae_lib.config import VerificationSettings

COUNTS = ("TP", "FN", "TN", "FP")
SCORE_COLUMNS = (
    "latent_id int, judge string, confidence double, recall double, specificity double, precision double, cases int, "
    "p_value double, q_value double, interpretable boolean, best_feature string, best_feature_auc double"
)


def score_concepts(
    judged: DataFrame, live_latents: DataFrame, association: DataFrame, settings: VerificationSettings
) -> DataFrame:
    """Compute confidence and its chance level for each live latent and judge (method.md section 6; RecSAE 2411.06112).

        recall = TP/(TP+FN)    specificity = TN/(TN+FP)    precision = TP/(TP+FP)
        confidence = (TP+TN)/(TP+FN+TN+FP)
        p_value = P(Binomial(cases, 1/2) >= TP+TN)    q_value: Benjamini-Hochberg over the live latents of the judge
        interpretable <=> confidence >= settings.confidence and q_value < settings.significance

    A latent without cases has p_value 1 and counts among the latents of the correction; a ratio without a
    denominator is null.

    The correction needs all latents at once: the tallies, M rows a judge, are collected, and the scores are computed
    before this returns.

    Parameters
    ----------
    judged : (latent_id, judge STRING, fires BOOLEAN, judged BOOLEAN), the judged cases; other columns are not read.
    live_latents : (latent_id), once each.
    association : (latent_id, best_feature, best_feature_auc), at most one row a latent.
    settings : `confidence` and `significance` are read.

    Returns
    -------
    DataFrame
        The columns of concept_scores without dt and sae_version; one row for each live latent and judge of `judged`.
    """
    tallied: pd.DataFrame = _tally(judged).toPandas()
    live: pd.DataFrame = live_latents.select("latent_id").orderBy("latent_id").toPandas()
    features: pd.DataFrame = association.select("latent_id", "best_feature", "best_feature_auc").toPandas()
    scored = [
        _score(judge, live.merge(of_judge.drop(columns="judge"), on="latent_id", how="left"), settings)
        for judge, of_judge in tallied.groupby("judge")
    ]
    columns = [column.split()[0] for column in SCORE_COLUMNS.split(", ")]
    if not scored or live.empty:
        return judged.sparkSession.createDataFrame([], SCORE_COLUMNS)
    rows = pd.concat(scored).merge(features, on="latent_id", how="left")
    return judged.sparkSession.createDataFrame(rows[columns], SCORE_COLUMNS)


def _score(judge: str, latents: pd.DataFrame, settings: VerificationSettings) -> pd.DataFrame:
    """All latents of one judge: ratios, exact binomial tails, and the correction over all of them."""
    tp, fn, tn, fp = (latents[name].fillna(0).to_numpy(dtype=np.int64) for name in COUNTS)
    cases = tp + fn + tn + fp
    p_value = binom.sf(tp + tn - 1, cases, 0.5)
    q_value = false_discovery_control(p_value, method="bh")
    confidence = _ratio(tp + tn, cases)
    return pd.DataFrame(
        {
            "latent_id": latents["latent_id"],
            "judge": judge,
            "confidence": confidence,
            "recall": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "precision": _ratio(tp, tp + fp),
            "cases": cases.astype(np.int32),
            "p_value": p_value,
            "q_value": q_value,
            "interpretable": (confidence >= settings.confidence) & (q_value < settings.significance),
        }
    )


def expected_by_chance(cases: pd.Series, settings: VerificationSettings) -> float:
    """How many latents a coin as judge would let reach the confidence asked for (method.md section 6).

        sum over latents of P(Binomial(cases, 1/2) / cases >= settings.confidence)

    The q-value, which `interpretable` asks for as well, is left out: the figure is what the confidence alone lets by
    chance, and so an upper bound (5.5 % of latents for confidence 0.8 on 5 + 5 cases, 0.6 % on 10 + 10).

    Parameters
    ----------
    cases : number of judged cases of each latent of one judge.
    settings : `confidence` is read.
    """
    return units_by_chance(cases.value_counts().to_dict(), settings.confidence)


def _tally(judged: DataFrame) -> DataFrame:
    fires, says = F.col("fires"), F.col("judged")
    outcomes = {"TP": fires & says, "FN": fires & ~says, "TN": ~fires & ~says, "FP": ~fires & says}
    return judged.groupBy("judge", "latent_id").agg(
        *(F.count_if(outcomes[name]).cast("int").alias(name) for name in COUNTS)
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Share, or NaN, which becomes null in a table, where there is nothing to divide by."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return shares
