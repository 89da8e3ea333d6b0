"""The term scorer: judges cases by the terms of a latent, without a language model."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def judge_by_terms(
    construct_cases: DataFrame,
    verify_cases: DataFrame,
    linked: DataFrame,
    item_terms: DataFrame,
    concept_terms: DataFrame,
) -> DataFrame:
    """Judge held-out cases by terms, with thresholds chosen on the construct half (method.md section 6; ours).

    A case fires where its score (`case_scores`) exceeds the threshold of the latent (`choose_thresholds`). A latent
    without terms, or without cases in the construct half, is judged not to fire for anybody.

    Parameters
    ----------
    construct_cases, verify_cases : (latent_id, user_id, kind, fires) of the two halves.
    linked, item_terms, concept_terms : see `case_scores`.

    Returns
    -------
    DataFrame : (latent_id INT, user_id STRING, kind STRING, fires BOOLEAN, judged BOOLEAN), one row a verify case.
    """
    thresholds = choose_thresholds(case_scores(construct_cases, linked, item_terms, concept_terms))
    judged = F.coalesce(F.col("score") > F.col("threshold"), F.lit(False))
    return (
        case_scores(verify_cases, linked, item_terms, concept_terms)
        .join(thresholds, "latent_id", "left")
        .select("latent_id", "user_id", "kind", "fires", judged.alias("judged"))
    )


def case_scores(cases: DataFrame, linked: DataFrame, item_terms: DataFrame, concept_terms: DataFrame) -> DataFrame:
    """Score each case by the terms that its linked items share with the latent (method.md section 6).

        score(l, u) = sum over linked items i of u, terms t of l, of tfidf_lt n_it / number of linked items

    All kept terms of the latent count, significant or not: many weak ones together tell users apart where none does
    alone, and whether they do is measured on users who had no part in finding them. The division makes users with few
    and with many linked items comparable. Sums are taken in fixed point, so that users with the same terms get the
    same score in whatever order the rows arrive.

    Parameters
    ----------
    cases : (latent_id, user_id, kind, fires).
    linked : (user_id STRING, item_ids ARRAY<STRING>), one row a user.
    item_terms : (item_id, term, kind, occurrences LONG).
    concept_terms : (latent_id, term, kind, tfidf).

    Returns
    -------
    DataFrame : (latent_id, user_id, kind, fires, score DOUBLE); 0.0 for a user without linked items.
    """
    weights = concept_terms.select("latent_id", "term", F.col("kind").alias("term_kind"), "tfidf")
    terms = item_terms.select("item_id", "term", F.col("kind").alias("term_kind"), "occurrences")
    contribution = (F.col("tfidf") * F.col("occurrences")).cast("decimal(28,16)")
    total = F.coalesce(F.sum(contribution), F.lit(0)).cast("double")
    # Left joins all the way: the cases, which are dear to draw, are read once.
    return (
        cases.join(linked.select("user_id", F.array_distinct("item_ids").alias("item_ids")), "user_id", "left")
        .select("*", F.explode_outer("item_ids").alias("item_id"))
        .withColumn("linked_items", F.greatest(F.size("item_ids"), F.lit(1)))
        .drop("item_ids")
        .join(terms, "item_id", "left")
        .join(weights, ["latent_id", "term", "term_kind"], "left")
        .groupBy("latent_id", "user_id", "kind", "fires", "linked_items")
        .agg(total.alias("total"))
        .select("latent_id", "user_id", "kind", "fires", (F.col("total") / F.col("linked_items")).alias("score"))
    )


def choose_thresholds(construct_scores: DataFrame) -> DataFrame:
    """Choose for each latent the threshold of highest balanced accuracy, (recall + specificity) / 2 (ours).

    Thresholds are the midpoints between neighbouring scores, and the largest score (nothing exceeds it). Of equally
    good ones the one in the widest gap wins, then the higher one. The same users have built the terms, so the accuracy
    here is optimistic; it is used for nothing else.

    Parameters
    ----------
    construct_scores : (latent_id, fires BOOLEAN, score DOUBLE).

    Returns
    -------
    DataFrame : (latent_id, threshold DOUBLE); no row for a latent whose cases are all positive or all negative.
    """
    of_latent = Window.partitionBy("latent_id")
    by_score = of_latent.orderBy("score")
    next_score = F.coalesce(F.lead("score").over(by_score), F.col("score"))
    missed, spared = F.sum("positives").over(by_score), F.sum("negatives").over(by_score)
    recall = 1 - F.try_divide(missed, F.sum("positives").over(of_latent))
    specificity = F.try_divide(spared, F.sum("negatives").over(of_latent))
    return (
        construct_scores.groupBy("latent_id", "score")
        .agg(F.count_if("fires").alias("positives"), F.count_if(~F.col("fires")).alias("negatives"))
        .select(
            "latent_id",
            # Ties must be exact, and sums of shares are not: twelve digits are finer than any number of cases.
            F.round((recall + specificity) / 2, 12).alias("balanced_accuracy"),
            (next_score - F.col("score")).alias("margin"),
            ((next_score + F.col("score")) / 2).alias("threshold"),
        )
        .where(F.col("balanced_accuracy").isNotNull())
        .groupBy("latent_id")
        .agg(F.max(F.struct("balanced_accuracy", "margin", "threshold"))["threshold"].alias("threshold"))
        .select("latent_id", "threshold")
    )
