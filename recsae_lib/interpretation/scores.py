"""Scores of concepts: how well a description predicts, on users it has not seen, where the latent fires."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.stats import binom, false_discovery_control

from recsae_lib.concepts.chance import units_by_chance
from recsae_lib.config import VerificationSettings

COUNTS = ("TP", "FN", "TN", "FP")


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
    tallied = _tally(judged)
    live = live_latents.select("latent_id").crossJoin(F.broadcast(tallied.select("judge").distinct()))
    counted = live.join(tallied, ["judge", "latent_id"], "left").fillna(0, subset=list(COUNTS))
    columns = ", ".join(["judge string", "latent_id int", *(f"{name} int" for name in COUNTS)])
    tested = counted.groupBy("judge").applyInPandas(_test, f"{columns}, p_value double, q_value double")

    positives, negatives = F.col("TP") + F.col("FN"), F.col("TN") + F.col("FP")
    cases, correct = positives + negatives, F.col("TP") + F.col("TN")
    confidence = _ratio(correct, cases)
    interpretable = (confidence >= settings.confidence) & (F.col("q_value") < settings.significance)
    return tested.join(association, "latent_id", "left").select(
        "latent_id",
        "judge",
        confidence.alias("confidence"),
        _ratio(F.col("TP"), positives).alias("recall"),
        _ratio(F.col("TN"), negatives).alias("specificity"),
        _ratio(F.col("TP"), F.col("TP") + F.col("FP")).alias("precision"),
        cases.alias("cases"),
        "p_value",
        "q_value",
        F.coalesce(interpretable, F.lit(False)).alias("interpretable"),
        "best_feature",
        "best_feature_auc",
    )


def expected_by_chance(scores: DataFrame, settings: VerificationSettings) -> float:
    """How many latents a coin as judge would let reach the confidence asked for (method.md section 6).

        sum over latents of P(Binomial(cases, 1/2) / cases >= settings.confidence)

    The q-value, which `interpretable` asks for as well, is left out: the figure is what the confidence alone lets by
    chance, and so an upper bound (5.5 % of latents for confidence 0.8 on 5 + 5 cases, 0.6 % on 10 + 10).

    Parameters
    ----------
    scores : (cases), one row a latent of one judge.
    settings : `confidence` is read.
    """
    latents_by_cases = scores.groupBy("cases").count().collect()  # at most 2n rows
    return units_by_chance({row["cases"]: row["count"] for row in latents_by_cases}, settings.confidence)


def _tally(judged: DataFrame) -> DataFrame:
    fires, says = F.col("fires"), F.col("judged")
    outcomes = {"TP": fires & says, "FN": fires & ~says, "TN": ~fires & ~says, "FP": ~fires & says}
    return judged.groupBy("judge", "latent_id").agg(
        *(F.count_if(outcomes[name]).cast("int").alias(name) for name in COUNTS)
    )


def _test(latents: pd.DataFrame) -> pd.DataFrame:
    """All latents of one judge, at most M rows: exact binomial tails, then the correction over all of them."""
    cases = latents[list(COUNTS)].sum(axis=1)
    p_value = binom.sf(latents["TP"] + latents["TN"] - 1, cases, 0.5)
    return latents.assign(p_value=p_value, q_value=false_discovery_control(p_value, method="bh"))


def _ratio(part: Column, whole: Column) -> Column:
    return F.try_divide(part.cast("double"), whole.cast("double"))
