"""The term scorer: judges cases by the terms of a latent, without a language model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.latent_runs import latent_runs

# Sums are taken over whole multiples of this part of the latent's largest weight: their order cannot change a bit.
WEIGHT_STEPS = 2.0**36

_JUDGED = "latent_id int, user_id string, kind string, fires boolean, judged boolean, judged_by_shuffled boolean"


def judge_by_terms(
    cases: DataFrame,
    linked: DataFrame,
    item_terms: DataFrame,
    concept_terms: DataFrame,
    shuffled_terms: DataFrame | None = None,
) -> DataFrame:
    """Judge held-out cases by terms, with thresholds chosen on the construct half (METHOD.md section 6; ours).

    ::

        score(l, u) = Σ_i Σ_t tf_lt ln(lift_lt) n_it / number of linked items     over linked items i of u, terms t of l

    A case fires where its score exceeds the threshold of the latent (`best_threshold`). A latent without terms, or
    without cases of both sorts in the construct half, is judged not to fire for anybody.

    tf says how much of the latent a term is, and the logarithm of its lift how much more than elsewhere: their product
    is the term's part in the divergence of the latent from all latents (Kullback and Leibler 1951). A sum of tfidf
    would be led by the terms that all latents have (drama, rock): on MovieLens-100K, latest-small and Last.fm it tells
    users apart less well.

    All kept terms of the latent count, significant or not: many weak ones together tell users apart where none does
    alone, and whether they do is measured on users who had no part in finding them. The division makes users with few
    and with many linked items comparable.

    Terms of another latent may be tried on the same cases, in the same way and with a threshold of their own: what a
    wrong label reaches. They travel beside the latent's own and cost no further shuffle of items.

    A row is one linked item of a case with all the item's terms, and is shuffled to its latent, as are the terms of
    that: a Python worker holds one latent at a time, that is 4n users, their items and the terms of those.
    On that way a term is a 64-bit hash. Two terms of one hash would count as one; that any term of any latent has the
    hash of another one has a chance of one in a million for 10 million terms.

    Parameters
    ----------
    cases : (construct BOOLEAN, latent_id, user_id, kind, fires) of both halves.
    linked : (user_id STRING, item_ids ARRAY<STRING>), one row a user.
    item_terms : (item_id, terms ARRAY<STRUCT<term, kind, occurrences>>), one row an item.
    concept_terms : (latent_id, term, kind, tf, lift).
    shuffled_terms : as concept_terms, but of another latent; none where not given.

    Returns
    -------
    DataFrame
        (latent_id INT, user_id STRING, kind STRING, fires BOOLEAN, judged BOOLEAN, judged_by_shuffled BOOLEAN), one row
        a verify case; the last by the shuffled terms, false where there are none.
    """
    terms = item_terms.select(
        "item_id",
        F.transform("terms", lambda term: F.xxhash64(term["kind"], term["term"])).alias("terms"),
        F.transform("terms", lambda term: term["occurrences"].cast("double")).alias("numbers"),
    )
    of_case = ["construct", "user_id", "kind", "fires"]
    linked_items = F.greatest(F.size("item_ids"), F.lit(1)).alias("linked_items")
    # Left joins all the way: the cases, which are expensive to draw, are read once.
    case_items = (
        cases.join(linked.select("user_id", F.array_distinct("item_ids").alias("item_ids")), "user_id", "left")
        .select("latent_id", *of_case, linked_items, F.explode_outer("item_ids").alias("item_id"))
        .join(terms, "item_id", "left")
        .select("latent_id", *of_case, "linked_items", "terms", "numbers")
    )
    weights = _weights(concept_terms, shuffled=False)
    if shuffled_terms is not None:
        weights = weights.unionByName(_weights(shuffled_terms, shuffled=True))
    weights = weights.select(
        "latent_id", "shuffled", F.array(F.xxhash64("kind", "term")).alias("terms"), F.array("weight").alias("numbers")
    )
    return (
        weights.unionByName(case_items, allowMissingColumns=True)
        .repartition("latent_id")
        .sortWithinPartitions("latent_id", "user_id")
        .mapInArrow(judge_cases, _JUDGED)
    )


def _weights(concept_terms: DataFrame, shuffled: bool) -> DataFrame:
    # The logarithm of 0 is null in Spark: a term without evidence weighs nothing.
    weight = F.coalesce(F.col("tf") * F.log("lift"), F.lit(0.0))
    return concept_terms.select("latent_id", F.lit(shuffled).alias("shuffled"), "kind", "term", weight.alias("weight"))


def judge_cases(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Judge the verify cases of one latent after the other.

    Batches come sorted by latent, with columns latent_id, shuffled, construct, user_id, kind, fires, linked_items,
    terms (list of hashes) and numbers. A row without user_id is a term of the latent, or a shuffled one, its weight in
    `numbers`; any other is one linked item of a case, its terms with their occurrences in `numbers`.
    """
    for _, rows in latent_runs(batches):
        table = pa.Table.from_batches(list(rows))
        of_latent = table.filter(pc.is_null(table["user_id"]))
        items = table.filter(pc.is_valid(table["user_id"]))
        users = items["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        cases = items.take(pa.array(np.unique(users, return_index=True)[1]))
        item_of_term, terms, occurrences = _flat(items)
        linked_items = cases["linked_items"].to_numpy()
        construct, fires = (cases[name].to_numpy().astype(bool) for name in ("construct", "fires"))
        for column, weights in (
            ("judged", of_latent.filter(pc.invert(of_latent["shuffled"]))),
            ("judged_by_shuffled", of_latent.filter(of_latent["shuffled"])),
        ):
            _, latent_terms, term_weights = _flat(weights)
            scores = case_scores(users[item_of_term], terms, occurrences, linked_items, latent_terms, term_weights)
            threshold = best_threshold(fires[construct], scores[construct])
            cases = cases.append_column(column, pa.array(scores > threshold))
        verify = cases.filter(pa.array(~construct))
        yield from verify.select([column.split()[0] for column in _JUDGED.split(", ")]).to_batches()


def _flat(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all terms of all rows: the number of the row, the hash, and the number that goes with it."""
    terms, numbers = (rows[name].combine_chunks() for name in ("terms", "numbers"))
    lengths = pc.fill_null(pc.list_value_length(terms), 0).to_numpy()
    return np.repeat(np.arange(len(rows)), lengths), terms.flatten().to_numpy(), numbers.flatten().to_numpy()


def case_scores(
    cases: np.ndarray,
    terms: np.ndarray,
    occurrences: np.ndarray,
    linked_items: np.ndarray,
    latent_terms: np.ndarray,
    term_weights: np.ndarray,
) -> np.ndarray:
    """Score the cases of a latent by the terms that their linked items share with it; equation in `judge_by_terms`.

    Parameters
    ----------
    cases, terms, occurrences : (R,) of each term of each linked item of a case: the case, the term's hash, n_it.
    linked_items : (C,) number of linked items of each case.
    latent_terms, term_weights : (T,) hashes and weights of the latent's terms.

    Returns
    -------
    (C,) scores; cases with the same terms have the same score, in whatever order these stand.
    """
    totals = np.zeros(len(linked_items), dtype=np.int64)
    largest = np.abs(term_weights).max(initial=0.0)
    if largest == 0:
        return totals.astype(np.float64)
    order = np.argsort(latent_terms)
    place = np.searchsorted(latent_terms[order], terms)
    place[place == len(order)] = 0
    shared = latent_terms[order][place] == terms
    steps = np.rint(term_weights[order] / largest * WEIGHT_STEPS).astype(np.int64)
    np.add.at(totals, cases[shared], steps[place[shared]] * occurrences[shared].astype(np.int64))
    scores: np.ndarray = totals / WEIGHT_STEPS * largest / linked_items
    return scores


def best_threshold(fires: np.ndarray, scores: np.ndarray) -> float:
    """Choose the threshold of highest balanced accuracy, (recall + specificity) / 2 (ours).

    Thresholds are the midpoints between neighbouring scores, and the largest score (nothing exceeds it). Of equally
    good ones the one in the widest gap wins, then the higher one. The same users have built the terms, so the accuracy
    here is optimistic; it is used for nothing else.

    Parameters
    ----------
    fires, scores : (C,) of the construct cases of one latent.

    Returns
    -------
    float : the threshold; infinity, which nothing exceeds, where all cases are positive or all negative.
    """
    if fires.all() or not fires.any():
        return float("inf")
    distinct, codes = np.unique(scores, return_inverse=True)
    positives, negatives = (np.bincount(codes[of_sort], minlength=len(distinct)) for of_sort in (fires, ~fires))
    recall = 1 - np.cumsum(positives) / positives.sum()
    specificity = np.cumsum(negatives) / negatives.sum()
    # Ties must be exact, and sums of shares are not: twelve digits are finer than any number of cases.
    balanced_accuracy = np.round((recall + specificity) / 2, 12)
    following = np.append(distinct[1:], distinct[-1])
    thresholds = (following + distinct) / 2
    best = np.lexsort((thresholds, following - distinct, balanced_accuracy))[-1]
    return float(thresholds[best])
