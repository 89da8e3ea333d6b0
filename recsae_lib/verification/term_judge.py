"""The term scorer: says for which users a unit fires, by the terms that name the unit, without a language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.stats import rankdata


@dataclass(frozen=True)
class Sides:
    """Who is a positive and who a negative of units among S users; some users are neither.

    Parameters
    ----------
    positive : (S, L) bool, or (S,) of one unit: it fires for the user at the required level.
    negative : the same shape; it does not fire at all.
    hard : the same shape; negatives for whom one of the nearest other units fires.
    """

    positive: np.ndarray
    negative: np.ndarray
    hard: np.ndarray

    def of(self, users: np.ndarray) -> Sides:
        """The rows of some users."""
        return Sides(self.positive[users], self.negative[users], self.hard[users])

    def of_unit(self, unit: int) -> Sides:
        """The column of one unit."""
        return Sides(self.positive[:, unit], self.negative[:, unit], self.hard[:, unit])


def sides(activations: sparse.csc_matrix, fires_neighbour: np.ndarray, minimum_level: int) -> Sides:
    """Sort users by what units do for them (METHOD.md sections 3 and 6).

    A positive is a user of level >= `minimum_level`, that is with an activation above the one of rank
    ⌈n (minimum_level − 1) / 10⌉ among the n users for whom the unit fires.

    Parameters
    ----------
    activations : (S, L), positive where a unit fires.
    fires_neighbour : (S, L) bool, whether one of the nearest other units fires.
    """
    values = activations.toarray()
    negative = values == 0
    edges = np.zeros(values.shape[1], dtype=values.dtype)
    if minimum_level > 1:
        for unit in range(values.shape[1]):
            rising = np.sort(activations.data[activations.indptr[unit] : activations.indptr[unit + 1]])
            if len(rising):
                edges[unit] = rising[-(-len(rising) * (minimum_level - 1) // 10) - 1]
    return Sides(values > edges, negative, negative & fires_neighbour)


def user_scores(
    user_terms: sparse.csr_matrix, linked_items: np.ndarray, places: np.ndarray, units: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Score users by the terms of units (METHOD.md section 6; ours).

    ::

        score(l, u) = Σ_t tf_lt ln(lift_lt) √(Σ_i n_it / number of linked items)     items i linked to u, terms t of l

    tf says how much of the unit a term is, and the logarithm of its lift how much more than elsewhere: their product
    is the term's part in the divergence of the unit from all units (Kullback and Leibler 1951). The division makes
    users with few and with many linked items comparable; the root makes the variance of shares alike (Bartlett 1936),
    so that a frequent term does not drown the others.

    Parameters
    ----------
    user_terms : (S, T) Σ_i n_it.
    linked_items : (S,)
    places, units, weights : of each term of each of L units: its column, the unit (0 to L−1), and its weight.

    Returns
    -------
    (S, L) float64; users with the same terms have the same score.
    """
    number = int(units.max(initial=-1)) + 1
    weighted = sparse.csr_matrix((weights, (places, units)), (user_terms.shape[1], number))
    shares = sparse.diags_array(1 / linked_items) @ user_terms
    scores: np.ndarray = (shares.sqrt() @ weighted).toarray()
    return np.round(scores, 12)  # equal sums in another order differ in the last bits


def best_threshold(who: Sides, scores: np.ndarray) -> float:
    """Choose the threshold of highest confidence, as `confidence_of` weighs it (ours).

    Thresholds are the midpoints between neighbouring scores, and the largest score (nothing exceeds it). Of equally
    good ones the one in the widest gap wins, then the higher one. On users of the construct half, who have built the
    terms, the confidence is optimistic; it is used for nothing else.

    Parameters
    ----------
    who : of one unit.
    scores : (S,)

    Returns
    -------
    float : the threshold; infinity, which nothing exceeds, without a positive or without a negative.
    """
    positive, negative, hard = who.positive, who.negative, who.hard
    if not positive.any() or not negative.any():
        return float("inf")
    judged = positive | negative
    distinct, codes = np.unique(scores[judged], return_inverse=True)

    def at_most(side: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes[side[judged]], minlength=len(distinct))
        return np.asarray(np.cumsum(counts) / max(counts.sum(), 1))

    recall = 1 - at_most(positive)
    specificity = (at_most(negative) + at_most(hard if hard.any() else negative)) / 2
    # Ties must be exact, and sums of shares are not: twelve digits are finer than any number of users.
    confidence = np.round((recall + specificity) / 2, 12)
    following = np.append(distinct[1:], distinct[-1])
    thresholds = (following + distinct) / 2
    return float(thresholds[np.lexsort((thresholds, following - distinct, confidence))[-1]])


@dataclass(frozen=True)
class UnitVerdict:
    """What the term scorer makes of all users of the verify half for one unit; NaN where there is nothing to divide.

    Parameters
    ----------
    recall : share of the positives that it says fire.
    specificity : mean of the share of all negatives, and of the hard ones, that it says do not.
    hard_specificity : of the hard ones.
    precision : share of positives among the judged users that it says fire.
    confidence : (recall + specificity) / 2: what the drawn cases of another judge estimate.
    cases : users judged.
    effective_cases : users of equal weight whose share of right answers varies as much (Kish 1965): 1 / Σ w².
    auc, hard_auc : chance that a positive scores higher than a negative, or a hard one; ties count half.
    """

    recall: float
    specificity: float
    hard_specificity: float
    precision: float
    confidence: float
    cases: int
    effective_cases: float
    auc: float
    hard_auc: float


_NONE = float("nan")
NOT_JUDGED = UnitVerdict(_NONE, _NONE, _NONE, _NONE, _NONE, 0, _NONE, _NONE, _NONE)


def judge_unit(who: Sides, scores: np.ndarray, threshold: float) -> UnitVerdict:
    """Judge users of the verify half by their scores: who exceeds the threshold is said to fire.

    Parameters
    ----------
    who, scores : as of `best_threshold`.
    """
    positive, negative, hard = who.positive, who.negative, who.hard
    said = scores > threshold
    recall = _share(said, positive)
    of_all, of_hard = _share(~said, negative), _share(~said, hard)
    specificity = (of_all + of_hard) / 2 if hard.any() else of_all
    cases = int(positive.sum() + negative.sum())
    effective = np.nan
    if positive.any() and negative.any():
        weights = np.where(positive, 0.5 / positive.sum(), 0.0)
        share = 0.25 if hard.any() else 0.5
        weights += np.where(negative, share / negative.sum(), 0.0)
        weights += np.where(hard, share / max(hard.sum(), 1), 0.0)
        effective = float(1 / np.square(weights).sum())
    return UnitVerdict(
        recall,
        specificity,
        of_hard,
        _share(positive, said & (positive | negative)),
        (recall + specificity) / 2,
        cases,
        effective,
        auc(scores[positive], scores[negative]),
        auc(scores[positive], scores[hard]),
    )


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Chance that a positive exceeds a negative, ties counting half (Mann and Whitney 1947); NaN without either."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ranks = rankdata(np.concatenate([positives, negatives]))[: len(positives)]
    wins = ranks.sum() - len(positives) * (len(positives) + 1) / 2
    return float(wins / (len(positives) * len(negatives)))


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part[whole].mean()) if whole.any() else float("nan")
