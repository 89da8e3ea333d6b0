"""Lists with a wanted mix of features: one list a feature, joined by proportional allocation (METHOD.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsae_lib.platform.compute.compiled import compiled
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import BLOCK_USERS, LIST_LENGTH, best_lists

CANDIDATES = 100  # items that a re-ranker chooses from
LEAST_SHARE = 1e-9  # below it a rest is one of rounding
SMOOTHING = 0.01  # of the target in the mix of a list, so that no feature has none (Steck 2018)


@dataclass(frozen=True)
class Mix:
    """What lists are to be made of.

    Parameters
    ----------
    places : (G,) int64, of the features in the catalogue.
    shares : (G,) wanted, at most 1 together, the same for everybody; None where each user's own history says it.
    """

    places: np.ndarray
    shares: np.ndarray | None

    def wanted(self, users: Users, carried: sparse.csr_matrix) -> np.ndarray:
        """Share of each feature that each user is to get, (S, G); the rest, up to 1, is left to the untuned list.

        ::

            p(f | u) = |seen items with f| / Σ_g |seen items with g|        of the history

        Parameters
        ----------
        carried : (n, F) CSR of ones, which item has which feature.
        """
        if self.shares is not None:
            return np.tile(self.shares, (len(users), 1))
        rows = np.repeat(np.arange(len(users)), np.diff(users.seen_offsets))
        shape = (len(users), carried.shape[0])
        seen = sparse.csr_matrix((np.ones(len(rows)), (rows, users.seen_items)), shape)
        counts = np.asarray((seen @ carried[:, self.places]).todense())
        totals = counts.sum(1, keepdims=True)
        shares: np.ndarray = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
        return shares


@dataclass(frozen=True)
class ResolvedMix:
    """A mix of the settings, as it is carried out.

    Parameters
    ----------
    name : of the settings.
    mix : what lists are to be made of.
    latents : (G,) int64, the latent that stands for each feature.
    strength : a, what is added to its activation.
    """

    name: str
    mix: Mix
    latents: np.ndarray
    strength: float


def mixed_lists(
    recommender: Recommender,
    users: Users,
    wanted: np.ndarray,
    directions: np.ndarray,
    strength: float,
    length: int = LIST_LENGTH,
) -> np.ndarray:
    """Steer users towards each feature that they are to get, and join their lists.

    Parameters
    ----------
    wanted : (S, G) shares.
    directions : (G, d) float32, one for each feature.
    strength : x' = x + strength · direction.

    Returns
    -------
    (S, length) int64 item indices; -1 where there is no item.
    """
    lists = np.empty((len(users), length), dtype=np.int64)
    for start in range(0, len(users), BLOCK_USERS):
        rows = np.arange(start, min(start + BLOCK_USERS, len(users)))
        lists[rows] = _mixed_block(recommender, users.take(rows), wanted[rows], directions, strength, length)
    return lists


def _mixed_block(
    recommender: Recommender, users: Users, wanted: np.ndarray, directions: np.ndarray, strength: float, length: int
) -> np.ndarray:
    # A list of N places has room for the N largest shares.
    last = min(length, wanted.shape[1]) - 1
    asked = (wanted > 0) & (wanted >= -np.sort(-wanted, axis=1)[:, last : last + 1])
    candidates = np.full((len(users), wanted.shape[1] + 1, length), -1, dtype=np.int64)
    candidates[:, -1] = best_lists(recommender, users, users.x, length=length)
    for feature, direction in enumerate(directions):
        rows = np.flatnonzero(asked[:, feature])
        if len(rows):
            some = users.take(rows)
            x = some.x + np.float32(strength) * direction
            candidates[rows, feature] = best_lists(recommender, some, x, length=length)
    shares = np.where(asked, wanted, 0.0)
    rest = np.maximum(1.0 - shares.sum(1, keepdims=True), 0.0)
    rest[rest < LEAST_SHARE] = 0.0
    joined = np.full((len(users), length), -1, dtype=np.int64)
    _allocate(candidates, np.concatenate([shares, rest], axis=1), joined)
    return joined


@compiled
def _allocate(candidates: np.ndarray, shares: np.ndarray, joined: np.ndarray) -> None:
    """D'Hondt: each place goes to the list of the largest share / (1 + its places), which gives its best item left.

    The first of equal ones; a list without an item left gives its places to the others, and at last to the untuned
    list, which stands last.
    """
    users, lists, length = candidates.shape
    for user in range(users):
        taken = np.zeros(lists, np.int64)
        following = np.zeros(lists, np.int64)
        place = 0
        while place < length:
            best, largest = -1, 0.0
            for one in range(lists):
                while following[one] < length and _stands(joined[user], place, candidates[user, one, following[one]]):
                    following[one] += 1
                has_item = following[one] < length and candidates[user, one, following[one]] >= 0
                quotient = shares[user, one] / (1 + taken[one])
                if has_item and quotient > largest:
                    best, largest = one, quotient
            if best < 0:
                best = lists - 1
                if following[best] >= length or candidates[user, best, following[best]] < 0:
                    break
            joined[user, place] = candidates[user, best, following[best]]
            taken[best] += 1
            place += 1


@compiled
def _stands(items: np.ndarray, count: int, item: int) -> bool:
    return bool((items[:count] == item).any())


def calibrated_lists(
    candidates: np.ndarray,
    scores: np.ndarray,
    wanted: np.ndarray,
    of_items: sparse.csr_matrix,
    strength: float,
    length: int = LIST_LENGTH,
) -> np.ndarray:
    """Re-rank candidates greedily so that the mix of the list comes near to what is wanted (Steck, RecSys 2018).

    ::

        maximise  Σ score_i − strength · KL(p ‖ q̃),     q̃ = (1 − .01) q + .01 p
        q         mean over the items of the list of 1 / |features of i| for each of its features

    Parameters
    ----------
    candidates, scores : (S, C) items, best first, -1 for none, and their scores.
    wanted : (S, G) p.
    of_items : (n, G) CSR of ones, the features that count.
    """
    dense = np.asarray(of_items[np.maximum(candidates, 0).ravel()].todense(), dtype=np.float64)
    dense /= np.maximum(dense.sum(1, keepdims=True), 1.0)
    features = dense.reshape(*candidates.shape, -1)
    lists = np.full((len(candidates), length), -1, dtype=np.int64)
    _choose(candidates, scores.astype(np.float64), features, wanted, strength, lists)
    return lists


@compiled
def _choose(
    candidates: np.ndarray,
    scores: np.ndarray,
    features: np.ndarray,
    wanted: np.ndarray,
    strength: float,
    lists: np.ndarray,
) -> None:
    users, count, groups = features.shape
    for user in range(users):
        so_far = np.zeros(groups)
        used = np.zeros(count, np.bool_)
        for place in range(lists.shape[1]):
            best, largest = -1, -np.inf
            for one in range(count):
                if used[one] or candidates[user, one] < 0:
                    continue
                divergence = 0.0
                for group in range(groups):
                    p = wanted[user, group]
                    if p > 0:
                        q = (so_far[group] + features[user, one, group]) / (place + 1)
                        divergence += p * np.log(p / ((1 - SMOOTHING) * q + SMOOTHING * p))
                gain = scores[user, one] - strength * divergence
                if gain > largest:
                    best, largest = one, gain
            if best < 0:
                break
            used[best] = True
            lists[user, place] = candidates[user, best]
            so_far += features[user, best]


def exposure_errors(lists: np.ndarray, wanted: np.ndarray, of_items: sparse.csr_matrix) -> np.ndarray:
    """Mean |wanted share − share of the places with the feature| over the features that a user is to get, (S,).

    0 of users who are to get none. An item with several features counts for each (Dokoupil et al., UMAP 2026).
    """
    users, places = np.nonzero(lists >= 0)
    shape = (len(lists), of_items.shape[0])
    listed = sparse.csr_matrix((np.ones(len(users)), (users, lists[users, places])), shape)
    shares = np.asarray((listed @ of_items).todense()) / np.maximum((lists >= 0).sum(1, keepdims=True), 1)
    asked = wanted > 0
    errors: np.ndarray = (np.abs(wanted - shares) * asked).sum(1) / np.maximum(asked.sum(1), 1)
    return errors
