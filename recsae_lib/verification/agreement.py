"""Whether two judges say the same of the same cases."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import accuracy_score, cohen_kappa_score


def judge_agreement(cases: DataFrame, scores: DataFrame) -> dict[str, float | None]:
    """Compare the verdicts of judge llm with those of judge terms, case by case and concept by concept.

    ::

        agreement = (n_11 + n_00) / n            n_ab: cases of which terms says a and llm b
        kappa = (agreement − e) / (1 − e),   e = (n_1. n_.1 + n_0. n_.0) / n²        (Cohen 1960)

    Kappa is 1 where the judges always agree, and 0 where they agree as often as two that know nothing of each other
    and say "fires" as often as these do. Only cases count that both have judged.

    Parameters
    ----------
    cases : (latent_id, judge, user_id, judged) of both judges.
    scores : (latent_id, judge, interpretable) of both.

    Returns
    -------
    dict : judge_agreement and judge_kappa (None without a common case, kappa also where both always say the same one
        thing), and interpretable_by_both_judges.
    """

    def said_by(judge: str) -> Column:
        return F.max(F.when(F.col("judge") == judge, F.col("judged"))).alias(judge)

    of_both = cases.groupBy("latent_id", "user_id").agg(said_by("terms"), said_by("llm"))
    rows = of_both.dropna(subset=["terms", "llm"]).groupBy("terms", "llm").count().collect()  # four at most
    counts = {(row["terms"], row["llm"]): row["count"] for row in rows}
    return {**case_agreement(counts), "interpretable_by_both_judges": float(interpretable_by_both(scores))}


def interpretable_by_both(scores: DataFrame) -> int:
    """How many latents both judges find interpretable: as many as are interpretable in `concepts`.

    Parameters
    ----------
    scores : (latent_id, judge, interpretable) of both.
    """
    return scores.where("interpretable").groupBy("latent_id").count().where("count = 2").count()


def case_agreement(counts: dict[tuple[bool, bool], int]) -> dict[str, float | None]:
    """Agreement and kappa, see `judge_agreement`, of the number of cases by what either judge says."""
    if not counts:
        return {"judge_agreement": None, "judge_kappa": None}
    (one, other), cases = zip(*counts, strict=True), list(counts.values())
    said_both = len({*one, *other}) == 2
    return {
        "judge_agreement": float(accuracy_score(one, other, sample_weight=cases)),
        "judge_kappa": float(cohen_kappa_score(one, other, sample_weight=cases)) if said_both else None,
    }
