"""Which item feature of the linked items a unit tells apart best: ROC-AUC of its activation, without any judge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

PERMUTATIONS = 99
# No permutation may reach the AUC of a feature that is named: of units without any link, one in 100 gets a name.
NAMED_BY_CHANCE = 1 / (PERMUTATIONS + 1)
FEWEST_USERS = 10  # users that a feature must be, and must not be, typical of
TOP_ITEMS = 20  # of a unit, those of the largest evidence
FEWEST_ITEMS = 2  # of these that carry the feature


class Associations(NamedTuple):
    """The best feature of each of L units.

    Parameters
    ----------
    best : (L,) place of the feature, -1 where there is none.
    auc : (L,) its ROC-AUC; 1/2 where no feature is above it.
    null_auc : (L,) the largest AUC of the permutations.
    p_value : (L,) NaN where no feature was tried.
    """

    best: np.ndarray
    auc: np.ndarray
    null_auc: np.ndarray
    p_value: np.ndarray


def associate(
    activations: sparse.csc_matrix,
    linked: sparse.csr_matrix,
    item_features: sparse.csr_matrix,
    fewest_items: int,
    seed: int,
) -> Associations:
    """Find the item feature of highest ROC-AUC for each unit, on users of the verify half (METHOD.md section 6).

    ::

        share_uf = linked items of u that carry f / linked items of u
        y_uf = 1 where share_uf > Σ_u linked items of u that carry f / Σ_u linked items of u, else 0        (ours)
        AUC_lf = (Σ_{u : y_uf = 1} rank of z_lu − n_f (n_f + 1) / 2) / (n_f (n − n_f)),   n_f = Σ_u y_uf
        AUC_l = max_f AUC_lf
        p_l = (1 + |{permutations of the users : AUC_l after it >= AUC_l}|) / (1 + 99)

    A user counts for a feature by comparison with all sampled users, since among some twenty recommended items nearly
    every genre occurs once. Ranks are mid-ranks, above all for the users for whom the unit does not fire. Features
    with fewer than 10 users on either side are left out: chance would make the largest AUC theirs.

    A feature needs support on both sides of the link: `fewest_items` linked items carry it, and at least 2 of the
    unit's 20 items of the largest evidence over these users do. A feature of four items may well be typical of the
    users of a unit whose own items carry it nowhere.

    The largest AUC over many features is above 1/2 by chance. The null is therefore the largest AUC over features
    after the activations were shuffled among the users, 99 times: the p-value holds for the features of a unit
    together (the maxT procedure of Westfall and Young 1993). A unit gets a best feature only where its AUC is above
    1/2 and above all 99 (p = 0.01; ours). That is a test for one unit, not for all together: `NAMED_BY_CHANCE` times
    the units is the number that gets one by chance.

    Parameters
    ----------
    activations : (S, L), positive where a unit fires.
    linked : (S, I) ones.
    item_features : (I, F), above 0 where an item carries a feature; features by rising name.
    fewest_items : linked items that must carry a feature.
    seed : of the permutations.

    Returns
    -------
    Associations : equal AUCs are broken by the place of the feature.
    """
    carries = (item_features > 0).astype(np.float64)
    used = linked[:, :].sum(axis=0).A1 > 0 if linked.shape[1] else np.zeros(0, bool)
    supported = np.flatnonzero(fewest_items <= carries[used].sum(axis=0).A1)
    typical, tried = typical_features((linked @ carries[:, supported]).tocsr(), np.diff(linked.indptr))
    tried = supported[tried]
    units = activations.shape[1]
    if not len(tried):
        return Associations(np.full(units, -1), np.full(units, 0.5), np.full(units, np.nan), np.full(units, np.nan))
    ranks, silent = centred_ranks(activations)
    allowed = carried_by_top_items(activations, linked, carries[:, tried]) >= FEWEST_ITEMS
    best, auc, null_auc, p_value = best_against_null(ranks, silent, typical, allowed, seed)
    return Associations(np.append(tried, -1)[best], auc, null_auc, p_value)


def carried_by_top_items(
    activations: sparse.csc_matrix, linked: sparse.csr_matrix, carries: sparse.csr_matrix
) -> np.ndarray:
    """How many of each unit's `TOP_ITEMS` items of the largest Σ_u z_lu carry each feature, (L, F)."""
    evidence = (activations.T @ linked).tocsr()
    evidence.sort_indices()
    rows, columns = [], []
    for unit in range(evidence.shape[0]):
        part = slice(evidence.indptr[unit], evidence.indptr[unit + 1])
        order = np.lexsort((evidence.indices[part], -np.round(evidence.data[part], 6)))[:TOP_ITEMS]
        rows.append(np.full(len(order), unit))
        columns.append(evidence.indices[part][order])
    where = (np.concatenate([np.empty(0, int), *rows]), np.concatenate([np.empty(0, int), *columns]))
    top = sparse.csr_matrix((np.ones(len(where[0])), where), evidence.shape)
    return np.asarray((top @ carries).todense())


def typical_features(carried: sparse.csr_matrix, linked_items: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Say which features are typical of which users: y of `associate`.

    Parameters
    ----------
    carried : (S, F) how many linked items of a user carry a feature.
    linked_items : (S,) number of linked items.

    Returns
    -------
    (typical, places) : y (S, features), and which of the F those are: with enough users on either side.
    """
    users = carried.shape[0]
    counts = carried.tocoo()
    # Whole numbers: carried / linked of the user against carried / linked of all, multiplied out.
    by_all = np.rint(carried.sum(axis=0).A1).astype(np.int64)
    linked = linked_items.astype(np.int64)
    above = np.rint(counts.data).astype(np.int64) * linked.sum() > by_all[counts.col] * linked[counts.row]
    where = (counts.row[above], counts.col[above])
    typical = sparse.csr_matrix((np.ones(int(above.sum())), where), shape=carried.shape, dtype=np.float64)
    support = typical.sum(axis=0).A1
    kept = np.flatnonzero((support >= FEWEST_USERS) & (users - support >= FEWEST_USERS))
    return typical[:, kept], kept


def centred_ranks(activations: sparse.csc_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Rank the users of each unit by activation, as distance from the mid-rank of those for whom it is silent.

    Parameters
    ----------
    activations : (S, L), positive where a unit fires.

    Returns
    -------
    (ranks, silent) : the distances (L, S), sparse, and (L,) numbers of silent users.
    """
    users, units = activations.shape
    of_user, unit, values = (
        activations.indices,
        np.repeat(np.arange(units), np.diff(activations.indptr)),
        (activations.data),
    )
    order = np.lexsort((of_user, values, unit))
    of_user, unit, values = of_user[order], unit[order], values[order]
    firing = np.diff(activations.indptr)
    first = activations.indptr[:-1]
    ties = np.flatnonzero(np.r_[True, (np.diff(unit) != 0) | (np.diff(values) != 0)][: len(unit)])
    lengths = np.diff(np.r_[ties, len(unit)])
    mid_rank = np.repeat(ties + (lengths + 1) / 2, lengths) - first[unit]  # among the firing users, from 1
    silent = users - firing
    distance = mid_rank + (silent[unit] - 1) / 2
    return sparse.csr_matrix((distance, (unit, of_user)), shape=(units, users)), silent


def best_against_null(
    ranks: sparse.csr_matrix, silent: np.ndarray, typical: sparse.csr_matrix, allowed: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pick the feature of largest AUC for each unit and hold it against permutations of the users.

    Parameters
    ----------
    ranks, silent : of L units and S users, see `centred_ranks`.
    typical : (S, features), see `typical_features`.
    allowed : (L, features) bool, which features a unit may have.

    Returns
    -------
    (best, auc, null_auc, p_value) : (L,) place of the feature, −1 where a permutation reaches its AUC; that AUC; the
        largest AUC of the permutations; and the p-value of `associate`.
    """
    best, auc = largest_auc(ranks, silent, typical, allowed)
    null_auc, reached = np.zeros(len(auc)), np.zeros(len(auc), dtype=np.int64)
    random = np.random.default_rng(seed)
    for _ in range(PERMUTATIONS):
        _, by_chance = largest_auc(ranks, silent, typical[random.permutation(typical.shape[0])], allowed)
        null_auc = np.maximum(null_auc, by_chance)
        reached += by_chance >= auc
    return np.where(reached == 0, best, -1), auc, null_auc, (1 + reached) / (1 + PERMUTATIONS)


def largest_auc(
    ranks: sparse.csr_matrix, silent: np.ndarray, typical: sparse.csr_matrix, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pick the allowed feature of largest AUC above 1/2 for each unit: (L,) its place, or −1 with an AUC of 1/2.

    A feature of no user for whom the unit fires has an AUC below 1/2, so only the non-zero entries of a sparse
    product are looked at. Sums of half-integers are exact, so equal AUCs are equal bit by bit.
    """
    users = typical.shape[0]
    sums = (ranks @ typical).tocsr()
    positives = typical.sum(axis=0).A1[sums.indices]
    row = np.repeat(np.arange(sums.shape[0]), np.diff(sums.indptr))
    wins = sums.data + positives * ((silent[row] + 1) / 2 - (positives + 1) / 2)
    auc = np.where(allowed[row, sums.indices], wins / (positives * (users - positives)), 0.0)
    largest = np.full(sums.shape[0], 0.5)
    np.maximum.at(largest, row, auc)
    reached = (auc == largest[row]) & (auc > 0.5)
    best = np.full(sums.shape[0], sums.shape[1])
    np.minimum.at(best, row[reached], sums.indices[reached])
    return np.where(best < sums.shape[1], best, -1), largest
