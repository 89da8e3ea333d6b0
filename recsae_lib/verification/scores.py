"""Scores of concepts: how well a description predicts, on users it has not seen, where the latent fires."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.stats import binom, false_discovery_control

from recsae_lib.concepts.chance import units_by_chance
from recsae_lib.config import Judge, VerificationSettings
from recsae_lib.verification.sample_size import wilson_interval

COUNTS = ("TP", "FN", "TN", "FP")
VERDICT_COLUMNS = (
    "latent_id int, judge string, confidence double, confidence_low double, confidence_high double, recall double, "
    "specificity double, precision double, cases int, p_value double, q_value double, interpretable boolean"
)
ASSOCIATION = ("best_feature", "best_feature_auc", "best_feature_null_auc", "best_feature_p_value")
SCORE_COLUMNS = f"{VERDICT_COLUMNS}, best_feature string, {', '.join(f'{name} double' for name in ASSOCIATION[1:])}"


def score_concepts(
    judged: DataFrame, judge: Judge, live_latents: DataFrame, association: DataFrame, settings: VerificationSettings
) -> DataFrame:
    """Compute confidence and its chance level for each live latent (METHOD.md section 6; RecSAE 2411.06112).

        recall = TP/(TP+FN)    specificity = TN/(TN+FP)    precision = TP/(TP+FP)
        confidence = (TP+TN)/(TP+FN+TN+FP)    confidence_low, confidence_high: its 95 % interval (`wilson_interval`)
        p_value = P(Binomial(cases, 1/2) >= TP+TN)    q_value: Benjamini-Hochberg over the live latents of the judge
        interpretable <=> confidence >= settings.confidence and q_value < settings.significance

    A latent without cases has p_value 1 and counts among the latents of the correction; a ratio without a
    denominator is null.

    The p-value holds for a judge that knows nothing, however often it says "fires": with n positives and n negatives
    the expected share of right answers is then 1/2, and the number of them varies less than a coin's.

    The correction needs all latents at once: the tallies, M rows, are collected, and the scores are computed before
    this returns.

    Parameters
    ----------
    judged : (latent_id, fires BOOLEAN, judged BOOLEAN), the cases that one judge has judged.
    judge : who it was.
    live_latents : (latent_id), once each.
    association : (latent_id, best_feature, best_feature_auc, best_feature_null_auc, best_feature_p_value), at most one
        row a latent.
    settings : `confidence` and `significance` are read.

    Returns
    -------
    DataFrame
        `SCORE_COLUMNS`, those of concept_scores without dt, sae_version and what only a language model has; one row
        for each live latent.
    """
    features: pd.DataFrame = association.select("latent_id", *ASSOCIATION).toPandas()
    rows = _verdicts(judged, judge, live_latents, settings).merge(features, on="latent_id", how="left")
    return _frame(judged.sparkSession, rows, SCORE_COLUMNS)


def score_shuffled(
    judged: DataFrame, live_latents: DataFrame, shuffled: DataFrame, settings: VerificationSettings
) -> DataFrame:
    """Score the latents as `score_concepts` does, where the terms of another latent judged their cases.

    Parameters
    ----------
    judged : (latent_id, fires BOOLEAN, judged BOOLEAN), judged by the terms of another latent.
    shuffled : (latent_id, label_of), whose terms they were; a latent without any is absent.

    Returns
    -------
    DataFrame : (latent_id, label_of) and the other columns of `VERDICT_COLUMNS`; one row for each live latent.
    """
    rows = _verdicts(judged, "terms", live_latents, settings).merge(shuffled.toPandas(), on="latent_id", how="left")
    return _frame(judged.sparkSession, rows.astype({"label_of": "Int32"}), f"{VERDICT_COLUMNS}, label_of int")


def _frame(spark: SparkSession, rows: pd.DataFrame, columns: str) -> DataFrame:
    names = [column.split()[0] for column in columns.split(", ")]
    return spark.createDataFrame(rows[names], columns) if len(rows) else spark.createDataFrame([], columns)


def _verdicts(judged: DataFrame, judge: Judge, live_latents: DataFrame, settings: VerificationSettings) -> pd.DataFrame:
    tallied: pd.DataFrame = _tally(judged).toPandas()
    live: pd.DataFrame = live_latents.select("latent_id").orderBy("latent_id").toPandas()
    return score_tallies(judge, live.merge(tallied, on="latent_id", how="left"), settings)


def score_tallies(judge: Judge, latents: pd.DataFrame, settings: VerificationSettings) -> pd.DataFrame:
    """Score all live latents of one judge: ratios, exact binomial tails, and the correction over all of them.

    Parameters
    ----------
    latents : (latent_id, TP, FN, TN, FP), one row a live latent, NaN where it has no cases.

    Returns
    -------
    pd.DataFrame : `VERDICT_COLUMNS`.
    """
    tp, fn, tn, fp = (latents[name].fillna(0).to_numpy(dtype=np.int64) for name in COUNTS)
    cases = tp + fn + tn + fp
    p_value = binom.sf(tp + tn - 1, cases, 0.5)
    q_value = false_discovery_control(p_value, method="bh") if len(p_value) else p_value
    confidence = _ratio(tp + tn, cases)
    low, high = wilson_interval(tp + tn, cases)
    return pd.DataFrame(
        {
            "latent_id": latents["latent_id"],
            "judge": judge,
            "confidence": confidence,
            "confidence_low": low,
            "confidence_high": high,
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
    """How many latents a coin as judge would let reach the confidence asked for (METHOD.md section 6).

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
    return judged.groupBy("latent_id").agg(*(F.count_if(outcomes[name]).cast("int").alias(name) for name in COUNTS))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Share, or NaN, which becomes null in a table, where there is nothing to divide by."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return shares
