"""Scores of units: how sure a confidence is, and what is interpretable and confirmed by the limits of the settings."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.special import betainc
from scipy.stats import false_discovery_control

from recsae_lib.concepts.chance import units_by_chance
from recsae_lib.concepts.confirmation import is_causal, is_found_again
from recsae_lib.concepts.dictionaries import PLACE_BITS
from recsae_lib.config import Judge, VerificationSettings
from recsae_lib.verification.sample_size import wilson_interval

VERDICT_COLUMNS = (
    "latent_id int, judge string, confidence double, confidence_low double, confidence_high double, recall double, "
    "specificity double, hard_specificity double, precision double, auc double, hard_auc double, cases int, "
    "effective_cases double, p_value double, q_value double, interpretable boolean"
)
# What is known of a unit whoever judges it.
UNIT_COLUMNS = (
    "best_feature string, best_feature_auc double, best_feature_null_auc double, best_feature_p_value double, "
    "removal_effect double, removal_low double, removal_high double, removal_other double, removal_equal_dose double, "
    "removal_p_value double, removal_users int, found_again double, found_again_id int"
)
SCORE_COLUMNS = f"{VERDICT_COLUMNS}, {UNIT_COLUMNS}"


def names_of(columns: str) -> list[str]:
    """Names of the columns of a schema in words."""
    return [column.split()[0] for column in columns.split(", ")]


def score_units(judged: pd.DataFrame, prefix: str, settings: VerificationSettings) -> pd.DataFrame:
    """Score units by what the term scorer says of all users of the verify half (METHOD.md section 6).

    Parameters
    ----------
    judged : one row a unit, `blocks.BLOCK_COLUMNS`.
    prefix : empty for the terms that name a unit, ``shuffled_`` for those of another one.

    Returns
    -------
    pd.DataFrame : `VERDICT_COLUMNS`, in the order of the units.
    """
    own = {name: judged[f"{prefix}{name}"].to_numpy(dtype=float) for name in _MEASURED}
    return scored("terms", pd.DataFrame({"latent_id": judged["latent_id"].to_numpy(), **own}), settings)


_MEASURED = (
    "confidence",
    "recall",
    "specificity",
    "hard_specificity",
    "precision",
    "auc",
    "hard_auc",
    "cases",
    "effective_cases",
)


def scored(judge: Judge, units: pd.DataFrame, settings: VerificationSettings) -> pd.DataFrame:
    """Add interval, chance and verdict to confidences.

    ::

        confidence_low, confidence_high = 95 % interval of confidence · n of n right answers      (`wilson_interval`)
        p_value = P(Binomial(n, 1/2) >= confidence · n) = I_½(confidence · n, n − confidence · n + 1)
        q_value : Benjamini-Hochberg over the units of a dictionary
        interpretable <=> confidence >= settings.confidence and q_value < settings.significance

    n counts users of equal weight, `effective_cases`. A unit without cases has p_value 1 and counts among the units of
    the correction. The p-value holds for a judge that knows nothing, however often it says "fires".

    Parameters
    ----------
    units : (latent_id, confidence, …, cases, effective_cases), NaN where a unit has no cases.
    """
    cases = units["effective_cases"].fillna(0.0).to_numpy(dtype=float)
    confidence = units["confidence"].to_numpy(dtype=float)
    right = np.where(cases > 0, np.nan_to_num(confidence) * cases, 0.0)
    p_value = np.where(right > 0, betainc(np.maximum(right, 1e-9), cases - right + 1, 0.5), 1.0)
    q_value = pd.Series(p_value).groupby(units["latent_id"].to_numpy() >> PLACE_BITS).transform(_corrected).to_numpy()
    low, high = wilson_interval(right, cases)
    return units.assign(
        judge=judge,
        confidence_low=low,
        confidence_high=high,
        cases=units["cases"].fillna(0).astype(np.int32),
        effective_cases=cases,
        p_value=p_value,
        q_value=q_value,
        interpretable=(confidence >= settings.confidence) & (q_value < settings.significance),
    )[names_of(VERDICT_COLUMNS)]


def _corrected(p_values: pd.Series) -> np.ndarray:
    corrected: np.ndarray = false_discovery_control(p_values.to_numpy(), method="bh")
    return corrected


def score_cases(cases: DataFrame, judge: Judge, live_latents: DataFrame, settings: VerificationSettings) -> DataFrame:
    """Score latents by drawn cases, half of them positives (RecSAE 2411.06112).

    ::

        recall = TP/(TP+FN)    specificity = TN/(TN+FP)    precision = TP/(TP+FP)
        confidence = (TP+TN)/(TP+FN+TN+FP)

    The tallies, M rows, are collected.

    Parameters
    ----------
    cases : (latent_id, kind, fires BOOLEAN, judged BOOLEAN), the cases that one judge has judged.
    live_latents : (latent_id) and `UNIT_COLUMNS`, once each.

    Returns
    -------
    DataFrame : `SCORE_COLUMNS`, one row a live latent.
    """
    fires, says, hard = F.col("fires"), F.col("judged"), F.col("kind") == "hard"
    outcomes = {"TP": fires & says, "FN": fires & ~says, "TN": ~fires & ~says, "FP": ~fires & says}
    outcomes |= {"hard_TN": hard & ~says, "hard": hard}
    counts = [F.count_if(condition).cast("int").alias(name) for name, condition in outcomes.items()]
    tallied: pd.DataFrame = cases.groupBy("latent_id").agg(*counts).toPandas()
    live: pd.DataFrame = live_latents.select("latent_id", *names_of(UNIT_COLUMNS)).orderBy("latent_id").toPandas()
    rows = score_tallies(judge, live[["latent_id"]].merge(tallied, on="latent_id", how="left"), settings)
    return as_rows(cases.sparkSession, rows.merge(live, on="latent_id", how="left"), SCORE_COLUMNS)


def score_tallies(judge: Judge, latents: pd.DataFrame, settings: VerificationSettings) -> pd.DataFrame:
    """Score all live latents of one judge by counted cases.

    Parameters
    ----------
    latents : (latent_id, TP, FN, TN, FP, hard_TN, hard), one row a live latent, NaN where it has no cases.

    Returns
    -------
    pd.DataFrame : `VERDICT_COLUMNS`.
    """
    counts = ("TP", "FN", "TN", "FP", "hard_TN", "hard")
    tp, fn, tn, fp, hard_tn, hard = (latents[name].fillna(0).to_numpy(dtype=np.int64) for name in counts)
    cases = tp + fn + tn + fp
    units = pd.DataFrame(
        {
            "latent_id": latents["latent_id"],
            "confidence": _ratio(tp + tn, cases),
            "recall": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "hard_specificity": _ratio(hard_tn, hard),
            "precision": _ratio(tp, tp + fp),
            "auc": np.nan,
            "hard_auc": np.nan,
            "cases": cases,
            "effective_cases": cases.astype(float),
        }
    )
    return scored(judge, units, settings)


def is_confirmed(rows: pd.DataFrame, settings: VerificationSettings) -> np.ndarray:
    """Say which units are confirmed: interpretable, causal and found again (METHOD.md section 6; ours).

    ::

        confirmed <=> interpretable and `is_causal` and `is_found_again`

    Interpretable units have a name: without one nothing says that they fire. What was not measured confirms nothing.

    Parameters
    ----------
    rows : (interpretable, removal_effect, removal_p_value, found_again), one row a unit.
    """
    confirmed = rows["interpretable"].astype(bool) & is_causal(rows, settings) & is_found_again(rows, settings)
    return np.asarray(confirmed, dtype=bool)


def as_rows(spark: SparkSession, rows: pd.DataFrame, columns: str) -> DataFrame:
    """Make a DataFrame of these columns; whole numbers may be missing."""
    declared = spark.createDataFrame([], columns).schema
    whole = {field.name: "Int32" for field in declared if field.dataType.simpleString() == "int"}
    return (
        spark.createDataFrame(rows[declared.names].astype(whole), declared)
        if len(rows)
        else (spark.createDataFrame([], declared))
    )


def expected_by_chance(cases: pd.Series, settings: VerificationSettings) -> float:
    """How many units a coin as judge would let reach the confidence asked for (METHOD.md section 6).

        sum over units of P(Binomial(cases, 1/2) / cases >= settings.confidence)

    The q-value, which `interpretable` asks for as well, is left out: the figure is what the confidence alone lets by
    chance, and so an upper bound (5.5 % of units for confidence 0.8 on 5 + 5 cases, 0.6 % on 10 + 10). A coin is a weak
    null: shuffled labels and untrained dictionaries are judged beside it.

    Parameters
    ----------
    cases : effective cases of each unit of one judge, rounded down.
    settings : `confidence` is read.
    """
    return units_by_chance(cases.astype(int).value_counts().to_dict(), settings.confidence)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Share, or NaN, which becomes null in a table, where there is nothing to divide by."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return shares
