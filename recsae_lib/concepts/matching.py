"""Latents of two audits matched one to one, from their similarities; knows nothing of Spark."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

BLOCK_COSINES = 2**24  # cosines held at once
SIMILARITY_STEPS = 1_000_000  # similarities closer than a millionth count as equal: last bits differ between machines
NEAREST = 64  # latents of the other audit that one may be matched with
DENSE_PAIRS = 2**22  # of latents connected by pairs, up to which they are solved as a matrix
UNMATCHED_COST = 2.0  # above 2 - similarity, the cost of any pair


class SimilarPairs(NamedTuple):
    """Pairs of latents that are similar enough to be the same one; each pair once.

    Parameters
    ----------
    previous : (pairs,) int64 latent ids of the earlier audit.
    latents : (pairs,) int64 latent ids of this audit.
    similarities : (pairs,) float64, in whole steps of a millionth.
    """

    previous: np.ndarray
    latents: np.ndarray
    similarities: np.ndarray


class Followed(NamedTuple):
    """One latent of either audit and what became of it; -1 stands for no latent.

    Parameters
    ----------
    fate : matched, split, merged, born or gone.
    previous : latent of the earlier audit.
    latent : latent of this audit.
    similarity : of the two; NaN where there is one.
    """

    fate: str
    previous: int
    latent: int
    similarity: float


def similar_directions(
    previous_directions: np.ndarray,
    previous_ids: np.ndarray,
    directions: np.ndarray,
    latent_ids: np.ndarray,
    minimum: float,
) -> SimilarPairs:
    """Find the pairs of latents whose decoder rows have a cosine of `minimum` or more.

    Cosines are taken in blocks of rows: the M × M matrix never stands whole.

    Parameters
    ----------
    previous_directions, directions : (M', d) and (M, d) float32 W_dec, rows of unit norm.
    previous_ids, latent_ids : (live,) int64 latents that are compared, rising.
    minimum : above 0.

    Returns
    -------
    SimilarPairs : the `NEAREST` of each earlier latent at most (`nearest_pairs`).
    """
    columns = directions[latent_ids].T
    found = [nearest_pairs(previous_ids[:0], latent_ids[:0], np.zeros(0))]
    rows = max(1, BLOCK_COSINES // max(len(latent_ids), 1))
    for start in range(0, len(previous_ids) if len(latent_ids) else 0, rows):
        block = previous_ids[start : start + rows]
        cosines = previous_directions[block] @ columns
        # As one row of numbers: numpy looks for the places in a matrix twenty times as long.
        places = np.flatnonzero(cosines.ravel() >= minimum - 0.5 / SIMILARITY_STEPS)
        row, column = np.divmod(places, len(latent_ids))
        found.append(nearest_pairs(block[row], latent_ids[column], cosines.ravel()[places]))
    return SimilarPairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def nearest_pairs(previous: np.ndarray, latents: np.ndarray, similarities: np.ndarray) -> SimilarPairs:
    """Round similarities to steps and keep the `NEAREST` of each earlier latent, most similar first.

    Of equal similarities the same latent id goes first, since it keeps its meaning after a warm start; then the lower.
    """
    steps = np.rint(similarities.astype(np.float64) * SIMILARITY_STEPS)
    order = np.lexsort((latents, previous != latents, -steps, previous))
    previous, latents, steps = previous[order], latents[order], steps[order]
    begins = np.flatnonzero(np.r_[True, previous[1:] != previous[:-1]]) if len(previous) else np.zeros(0, np.int64)
    places = np.arange(len(previous)) - np.repeat(begins, np.diff(np.r_[begins, len(previous)]))
    kept = places < NEAREST
    return SimilarPairs(previous[kept], latents[kept], steps[kept] / SIMILARITY_STEPS)


def match_one_to_one(pairs: SimilarPairs) -> np.ndarray:
    """Choose the pairs of the greatest total similarity, no latent in more than one (METHOD.md section 9).

    ::

        max Σ s_p    over sets P of pairs in which each earlier and each present latent stands at most once

    Latents that are connected by pairs are solved by themselves (most are one pair): the Hungarian method on a small
    matrix, or its sparse form where thousands are connected. The answer is exact for the pairs that there are.

    Returns
    -------
    ndarray : (pairs,) bool, whether the pair is chosen.
    """
    chosen = np.zeros(len(pairs.previous), dtype=bool)
    if not len(chosen):
        return chosen
    previous, rows = np.unique(pairs.previous, return_inverse=True)
    latents, columns = np.unique(pairs.latents, return_inverse=True)
    nodes = len(previous) + len(latents)
    graph = csr_array((np.ones(len(chosen), np.int8), (rows, columns + len(previous))), shape=(nodes, nodes))
    group = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
    # Whatever is equally similar: a latent id that stays costs less than one that changes.
    benefits = pairs.similarities + 0.01 / SIMILARITY_STEPS * (pairs.previous == pairs.latents)
    for begin, end in zip(begins, np.r_[begins[1:], len(order)], strict=True):
        of_group = order[begin:end]
        if len(of_group) == 1:
            chosen[of_group] = True
            continue
        own_rows, own_columns = (np.unique(part[of_group], return_inverse=True)[1] for part in (rows, columns))
        chosen[of_group] = _greatest_total(own_rows, own_columns, benefits[of_group])
    return chosen


def _greatest_total(rows: np.ndarray, columns: np.ndarray, benefits: np.ndarray) -> np.ndarray:
    """Solve one group of pairs of rows and columns, both numbered from 0; (pairs,) bool."""
    number, width = int(rows.max()) + 1, int(columns.max()) + 1
    partner = np.full(number, -1)
    if number * width <= DENSE_PAIRS:
        matrix = np.zeros((number, width))
        matrix[rows, columns] = benefits
        matched_rows, matched_columns = linear_sum_assignment(matrix, maximize=True)
    else:  # each row may as well take a column of its own, and so be without a partner
        own = np.arange(number)
        costs = np.r_[UNMATCHED_COST - benefits, np.full(number, UNMATCHED_COST)]
        places = np.r_[rows, own], np.r_[columns, width + own]
        matched_rows, matched_columns = min_weight_full_bipartite_matching(
            csr_array((costs, places), shape=(number, width + number))
        )
    partner[matched_rows] = matched_columns
    return np.asarray(partner[rows] == columns)


def follow_latents(previous_ids: np.ndarray, latent_ids: np.ndarray, pairs: SimilarPairs) -> list[Followed]:
    """Say what became of each live latent: each stands in one row of its own (METHOD.md section 9; split and merged
    are ours).

    ::

        matched : the one-to-one match of greatest total similarity
        split   : not matched, yet similar to an earlier latent, which another one continues
        merged  : an earlier one, not matched, yet similar to a latent, which continues another one
        born, gone : similar to none

    Parameters
    ----------
    previous_ids, latent_ids : (live,) live latents of either audit.
    pairs : of those, similar enough to be the same.

    Returns
    -------
    list : matched rows by earlier latent, then those of latents of this audit, then those of earlier ones. A latent
        that is split off or merged stands with the most similar one of the other audit.
    """
    chosen = match_one_to_one(pairs)
    previous, latents = pairs.previous[chosen], pairs.latents[chosen]
    followed = [
        Followed("matched", *row)
        for row in sorted(zip(previous.tolist(), latents.tolist(), pairs.similarities[chosen].tolist(), strict=True))
    ]
    origins = _nearest(pairs.latents, pairs.previous, pairs.similarities)
    for latent in np.setdiff1d(latent_ids, latents).tolist():
        other, similarity = origins.get(latent, (-1, np.nan))
        followed.append(Followed("born" if other < 0 else "split", other, latent, similarity))
    heirs = _nearest(pairs.previous, pairs.latents, pairs.similarities)
    for latent in np.setdiff1d(previous_ids, previous).tolist():
        other, similarity = heirs.get(latent, (-1, np.nan))
        followed.append(Followed("gone" if other < 0 else "merged", latent, other, similarity))
    return followed


def _nearest(own: np.ndarray, others: np.ndarray, similarities: np.ndarray) -> dict[int, tuple[int, float]]:
    """Most similar other latent of each; of equal ones that of the same id, then the lowest."""
    order = np.lexsort((others, own != others, -similarities, own))
    firsts = order[np.r_[True, np.diff(own[order]) != 0]] if len(order) else order
    found = zip(others[firsts].tolist(), similarities[firsts].tolist(), strict=True)
    return dict(zip(own[firsts].tolist(), found, strict=True))
