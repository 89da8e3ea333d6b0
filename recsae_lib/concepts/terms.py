"""Concept terms: which words and item features set the items of a latent apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from scipy.special import betainc
from scipy.stats import binom, false_discovery_control

from recsae_lib.concepts.dictionaries import dictionary_of
from recsae_lib.concepts.item_terms import item_terms_with_total
from recsae_lib.concepts.latent_runs import ArrowMap, latent_runs
from recsae_lib.config import TermSettings

# Sums are taken over whole multiples of these, so that the order of rows cannot change a bit of them.
WEIGHT_STEPS = 2.0**32  # in the largest weight: of the latent for tf, of all latents for p_t
OBSERVATION_STEPS = 2.0**24  # in one observation

_SUMMED = ("evidence", "observed")
_OF_TERM = ("evidence_in_all", "observed_in_all", "document_frequency")
_TERMS = (
    "latent_id int, term string, kind string, tf double, tfidf double, lift double, z_score double, q_value double, "
    "significant boolean, items long, users long, rank int"
)


@dataclass(frozen=True)
class LatentCounts:
    """What is counted of the T terms of one latent; `total` is the same of all terms, or items, together.

    Parameters
    ----------
    evidence : (T,) Σ_i w_li n_it, in steps of the latent's largest weight.
    evidence_in_all : (T,) Σ_l Σ_i w_li n_it, in steps of the largest weight of all.
    observed : (T,) y_lt, observations (of the latent's items) that have the term; their total is n_l.
    observed_in_all : (T,) Σ_l y_lt.
    items : (T,) distinct linked items with the term.
    document_frequency : (T,) items of the catalogue with the term; zeros where it is not asked for.
    """

    evidence: np.ndarray
    evidence_in_all: np.ndarray
    observed: np.ndarray
    observed_in_all: np.ndarray
    items: np.ndarray
    document_frequency: np.ndarray


def concept_terms(latent_items: DataFrame, items: DataFrame, settings: TermSettings) -> DataFrame:
    """Weigh and test the terms of each latent's items (METHOD.md section 4; RecSAE, arXiv 2411.06112).

    ::

        tf_lt    = Σ_i w_li n_it / Σ_t' Σ_i w_li n_it'
        p_t      = the same share over all latents together
        tfidf_lt = tf_lt · ln(1 + 1/p_t)                        weighting=class
                   tf_lt · (ln((1+N)/(1+df_t)) + 1)             weighting=catalogue, over all N items of `items`
        lift_lt  = tf_lt / p_t

    For `z_score` and `q_value` see `log_odds` and `p_values`. Both count items, not weights, whose scale means nothing
    and which are sums over the same users (ours):

        c_li = min(1, w_li / mean of w_l over the items of l)        observations that item i makes for latent l
        y_lt = Σ_i c_li 1[n_it > 0]                                  observations that have term t
        n_l  = Σ_i c_li                                              observations of the latent

    No item counts for more than one observation, so that the binomial tail holds for sums of c_li as well; an item of
    less than the mean weight counts for less. (Sharing out Kish's effective number of items, (Σw)²/Σw², by weight lets
    a strong item count for several; cut at one it leaves few observations where weights have a long tail, and found
    11 of 80 planted features where this finds 63.)
    An observation has a term or not, however often, so that features (some an item) and words (many) need no common
    denominator.
    Terms in fewer than `minimum_items` linked items are not tested (q_value 1): they could never be significant, and
    as most words of a latent are such, they would only take power from the others.
    `significant` = q_value < `significance`.

    The rows (item, term) are shuffled by term, the rows (latent, item, term) once, by latent; their number is bounded
    by the kept items of the latents, not by users. Only items in `latent_items` are cut into terms, except for
    weighting=catalogue.
    `latent_items` is read several times: hand it over written, or persisted.

    Parameters
    ----------
    latent_items : (latent_id INT, item_id, weight DOUBLE, users LONG, rank INT), see `link_latents_to_items`; units of
        several dictionaries (`concepts.dictionaries`) are each weighed against those of their own.
    items : (item_id, title, text, features), the catalogue; a linked item that it does not hold has no terms.

    Returns
    -------
    DataFrame
        (latent_id INT, term, kind, tf, tfidf, lift, z_score, q_value DOUBLE, significant BOOLEAN, items LONG, users
        LONG, rank INT): the `terms_per_latent` terms of the largest tfidf, ties by term, then kind. `items` are the
        distinct linked items with the term, `users` the largest `users` of one of them.
    """
    counted = _count(latent_items, items, settings)
    return (
        counted.repartition("latent_id")
        .sortWithinPartitions("latent_id")
        .select("latent_id", "term", "kind", "users", *_SUMMED, *_OF_TERM)
        .mapInArrow(score_terms(settings), _TERMS)
    )


def _count(latent_items: DataFrame, items: DataFrame, settings: TermSettings) -> DataFrame:
    """One row a latent, item and term; the row of term and kind null counts all terms of the item."""
    linked = _in_steps(latent_items)
    over_catalogue = settings.weighting == "catalogue"
    needed = items if over_catalogue else items.join(latent_items.select("item_id"), "item_id", how="left_semi")
    # By item before the items are cut into terms: the joins then move items, of which there are fewer than terms.
    terms = item_terms_with_total(needed.repartition("item_id"), settings)
    of_items = linked.groupBy("dictionary", "item_id").agg(
        F.sum("weight_steps_in_all").alias("evidence_of_item"), F.sum("observed").alias("observed_of_item")
    )
    in_all = (
        terms.join(of_items, "item_id", how="inner")
        .groupBy("dictionary", "term", "kind")
        .agg(
            F.sum(F.col("evidence_of_item") * F.col("occurrences")).alias("evidence_in_all"),
            F.sum("observed_of_item").alias("observed_in_all"),
        )
    )
    # The row of all terms is one an item: joined by their null they would all be one task's. Its sums are few rows.
    of_all = in_all.where("term IS NULL").select("dictionary", F.col("evidence_in_all").alias("all_evidence"))
    # Also of items that the catalogue lacks.
    of_all = (
        linked.groupBy("dictionary").agg(F.sum("observed").alias("all_observed")).join(of_all, "dictionary", "left")
    )
    of_terms = in_all.where("term IS NOT NULL")
    if over_catalogue:
        frequencies = terms.groupBy("term", "kind").agg(F.count(F.lit(1)).alias("document_frequency"))
        of_terms = of_terms.join(frequencies.where("term IS NOT NULL"), ["term", "kind"], "inner")
        all_items = frequencies.where("term IS NULL").select(F.col("document_frequency").alias("all_items"))
        of_all = of_all.join(F.broadcast(all_items), how="left")
    same_item = of_items.select("dictionary", F.col("item_id").alias("same_term"), F.lit("").alias("same_kind"))
    of_terms = of_terms.withColumnsRenamed({"term": "same_term", "kind": "same_kind"}).unionByName(
        same_item, allowMissingColumns=True
    )
    same = {"same_term": F.coalesce("term", "item_id"), "same_kind": F.coalesce("kind", F.lit(""))}
    termed = terms.withColumns(same).join(of_terms, ["same_term", "same_kind"], how="inner")
    counted = linked.join(termed, ["dictionary", "item_id"], how="left").join(F.broadcast(of_all), "dictionary")
    occurrences, all_terms = F.coalesce("occurrences", F.lit(0)), F.col("term").isNull()
    return counted.select(
        "latent_id",
        "term",
        "kind",
        "observed",
        "users",
        (F.col("weight_steps") * occurrences).alias("evidence"),
        F.when(all_terms, F.coalesce("all_evidence", F.lit(0)))
        .otherwise(F.col("evidence_in_all"))
        .alias("evidence_in_all"),
        F.when(all_terms, F.col("all_observed")).otherwise(F.col("observed_in_all")).alias("observed_in_all"),
        (
            F.when(all_terms, F.coalesce("all_items", F.lit(0))).otherwise(F.col("document_frequency"))
            if over_catalogue
            else F.lit(0).cast("long")
        ).alias("document_frequency"),
    )


def _in_steps(latent_items: DataFrame) -> DataFrame:
    """Weights and observations as whole numbers; the sums over a latent's items are taken in the order of rank."""
    dictionary = dictionary_of().alias("dictionary")
    largest = latent_items.groupBy(dictionary).agg(F.max("weight").alias("largest_weight"))
    of_latent = (
        Window.partitionBy("latent_id")
        .orderBy("rank")
        .rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    )
    weight = F.col("weight")
    observations = F.least(F.lit(1.0), weight / F.avg(weight).over(of_latent))
    return (
        latent_items.where("weight > 0")
        .withColumn("dictionary", dictionary_of())
        .join(F.broadcast(largest), "dictionary")
        .select(
            "dictionary",
            "latent_id",
            "item_id",
            "users",
            F.rint(weight / F.max(weight).over(of_latent) * WEIGHT_STEPS).cast("long").alias("weight_steps"),
            # At least one step: a term that occurs has a share above zero, whose inverse is asked for.
            F.greatest(F.rint(weight / F.col("largest_weight") * WEIGHT_STEPS), F.lit(1.0))
            .cast("long")
            .alias("weight_steps_in_all"),
            F.rint(observations * OBSERVATION_STEPS).cast("long").alias("observed"),
        )
    )


def score_terms(settings: TermSettings) -> ArrowMap:
    """Make the function that turns counts, sorted by latent, into the best terms of each latent."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for latent, rows in latent_runs(batches):
            yield _score_latent(latent, pa.Table.from_batches(list(rows)).combine_chunks(), settings)

    return run


def _score_latent(latent: int, rows: pa.Table, settings: TermSettings) -> pa.RecordBatch:
    terms, columns = _sum_by_term(rows)
    of_all_terms = terms.column("term").is_null().to_numpy(zero_copy_only=False)
    terms, users = terms.filter(pa.array(~of_all_terms)), columns.pop("users")[~of_all_terms]
    counts = LatentCounts(**{name: values[~of_all_terms] for name, values in columns.items()})
    total = LatentCounts(**{name: values[of_all_terms] for name, values in columns.items()})
    tf = counts.evidence / np.maximum(total.evidence, 1)
    tfidf = tf * inverse_frequency(counts, total, settings)
    lift = tf / (counts.evidence_in_all / np.maximum(total.evidence_in_all, 1))
    z_score = log_odds(counts, total, settings.prior_strength)
    q_value = np.ones_like(tf)
    tested = counts.items >= settings.minimum_items
    if tested.any():
        q_value[tested] = false_discovery_control(p_values(counts, total, settings.minimum_items)[tested])
    significant = q_value < settings.significance
    best = _best(tfidf, terms, settings.terms_per_latent)
    scores = (tf, tfidf, lift, z_score, q_value, significant, counts.items, users)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.full(len(best), latent, dtype=np.int32)),
            *terms.take(pa.array(best)).columns,
            *(pa.array(values[best]) for values in scores),
            pa.array(np.arange(1, len(best) + 1, dtype=np.int32)),
        ],
        names=[field.split()[0] for field in _TERMS.split(", ")],
    )


def _sum_by_term(rows: pa.Table) -> tuple[pa.RecordBatch, dict[str, np.ndarray]]:
    """Sum the rows of one latent over its items: (term, kind) of each, and its counts in the same order."""
    term, kind = (rows.column(name).combine_chunks() for name in ("term", "kind"))
    names = pc.binary_join_element_wise(kind.fill_null(""), term.fill_null(""), "\n").dictionary_encode()
    codes, number = names.indices.to_numpy(), len(names.dictionary)
    values = {name: rows.column(name).to_numpy() for name in ("users", *_SUMMED, *_OF_TERM)}
    columns: dict[str, np.ndarray] = {
        "items": np.bincount(codes, minlength=number),
        "users": np.zeros(number, dtype=np.int64),
    }
    np.maximum.at(columns["users"], codes, values["users"])
    for name in _SUMMED:
        columns[name] = np.zeros(number, dtype=np.int64)
        np.add.at(columns[name], codes, values[name])
    place = np.empty(number, dtype=np.int64)
    place[codes] = np.arange(len(codes))  # any row of the term
    columns.update({name: values[name][place] for name in _OF_TERM})
    for name in ("observed", "observed_in_all"):
        columns[name] = columns[name] / OBSERVATION_STEPS
    taken = [column.take(pa.array(place)) for column in (term, kind)]
    return pa.RecordBatch.from_arrays(taken, names=["term", "kind"]), columns


def _best(tfidf: np.ndarray, terms: pa.RecordBatch, most: int) -> np.ndarray:
    """Indices of the `most` largest, ties by term, then kind; only candidates are compared as texts."""
    candidates = (
        np.flatnonzero(tfidf >= np.partition(tfidf, -most)[-most]) if len(tfidf) > most else np.arange(len(tfidf))
    )
    texts, kinds = (terms.column(name).take(pa.array(candidates)).to_pylist() for name in ("term", "kind"))
    order = sorted(range(len(candidates)), key=lambda n: (-tfidf[candidates[n]], texts[n], kinds[n]))
    return candidates[np.array(order[:most], dtype=np.int64)]


def inverse_frequency(counts: LatentCounts, total: LatentCounts, settings: TermSettings) -> np.ndarray:
    """Factor (T,) by which a rare term weighs more than a frequent one; equations in `concept_terms`."""
    if settings.weighting == "class":
        return np.log1p(total.evidence_in_all / counts.evidence_in_all)
    return np.log((1 + total.document_frequency) / (1 + counts.document_frequency)) + 1


def log_odds(counts: LatentCounts, total: LatentCounts, prior_strength: float) -> np.ndarray:
    """Log-odds ratio of each term, in standard deviations, against all other latents (Monroe, Colaresi, Quinn 2008).

    ::

        odds(y, n) = (y + α_t) / (n + α₀ − y − α_t)               α_t = α₀ π_t,  π_t = Σ_l y_lt / Σ_l n_l
        z_lt = [ln odds(y_lt, n_l) − ln odds(y_t − y_lt, n − n_l)] / σ_lt             y_t = Σ_l y_lt,  n = Σ_l n_l
        σ_lt² = Σ 1/(y + α_t) + 1/(n + α₀ − y − α_t)              over the latent and over the others

    The variance keeps the terms 1/(n + α₀ − y − α_t) that Monroe et al. drop for rare words: an item feature may well
    be had by 40 % of the items. A term that every item has tells nothing apart: 0.

    Returns
    -------
    (T,) z_score.
    """
    share = counts.observed_in_all / total.observed_in_all
    distinctive = share < 1
    prior = prior_strength * np.where(distinctive, share, 0.5)
    other_prior = prior_strength - prior
    others, of_others = counts.observed_in_all - counts.observed, total.observed_in_all - total.observed
    sides = [
        (counts.observed + prior, total.observed - counts.observed + other_prior),
        (others + prior, of_others - others + other_prior),
    ]
    ratio = np.log(sides[0][0] / sides[0][1]) - np.log(sides[1][0] / sides[1][1])
    variance = sum(1 / having + 1 / lacking for having, lacking in sides)
    return np.where(distinctive, ratio / np.sqrt(variance), 0.0)


def p_values(counts: LatentCounts, total: LatentCounts, minimum_items: int) -> np.ndarray:
    """Chance that a term which so many items of the latent have is as frequent, if all latents had it alike (ours).

    ::

        p_lt = min(1, P(Binomial(n_l, π_t) ≥ y_lt) / P(Binomial(items of l, π_t) ≥ minimum_items))
        π_t  = Σ_l y_lt / Σ_l n_l

    The tail is the regularised incomplete beta function I_π(y, n − y + 1), which takes counts that are not whole. With
    the latent's own observations among those of π it is the conservative side of Fisher's exact test of the latent
    against all others. The divisor is there because only terms of so many items are tested: without it every rare word
    that stands in two items would seem to be a discovery.

    1 − Φ(z_lt) does not serve. The prior makes it too strict for frequent features when a latent has few items, and
    the normal approximation makes it far too lenient for rare words: where 100 of 20,000 items were drawn at random for
    each of 500 latents, 92 to 100 % of the latents had false discoveries at q < 0.05 by it, and under 2 % by this.

    Parameters
    ----------
    minimum_items : items that a term needs before it is tested; what comes back for others means nothing.

    Returns
    -------
    (T,) p-values, one-sided.
    """
    share = np.minimum(counts.observed_in_all / total.observed_in_all, 1.0)
    lacking = np.maximum(total.observed - counts.observed, 0.0)
    # A vanishing observation (in steps: none) is no evidence: betainc(0, …) is 1.
    tail = betainc(counts.observed, lacking + 1, share)
    testable = binom.sf(minimum_items - 1, total.items, share)
    return np.clip(np.divide(tail, testable, out=np.ones_like(tail), where=testable > 0), 0.0, 1.0)
