"""What a tuning does to lists, each figure with its interval over users (METHOD.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsae_lib.recommenders.evaluation import gini
from recsae_lib.tuning.catalogue import Catalogue
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import gains, overlaps

DRAWS = 200  # of users, for an interval
Z = 1.96


@dataclass(frozen=True)
class Figure:
    """A figure with the ends of its 95 % interval; NaN where it cannot be measured."""

    value: float
    low: float
    high: float


class ListMeter:
    """Measures lists of the same users against their lists before.

    Parameters
    ----------
    users : whose lists are measured.
    before : (S, N) lists without a tuning.
    catalogue : popularity and features.
    carriers : (n,) 1 for items with what the tuning is about, else 0; None where it is about popularity.
    place : of that feature in the catalogue, which "other features" leave out; None without one.
    seed : of the draws of users.
    """

    def __init__(
        self,
        users: Users,
        before: np.ndarray,
        catalogue: Catalogue,
        carriers: np.ndarray | None,
        place: int | None,
        seed: int,
    ) -> None:
        self.users, self.before, self.catalogue = users, before, catalogue
        self.carriers, self.place = carriers, place
        drawn = np.random.default_rng(seed).multinomial(len(users), np.full(len(users), 1 / len(users)), size=DRAWS)
        self.weights = drawn.astype(np.float64)
        taste = users.mean_of_seen(np.log1p(catalogue.popularity))
        self.is_niche = taste <= np.median(taste)
        self.gains_before = gains(before, users.targets)

    def measure(self, lists: np.ndarray) -> dict[str, Figure]:
        """Every metric of lists of the same users, by name."""
        catalogue, popularity = self.catalogue, self.catalogue.popularity.astype(np.float64)
        gain = gains(lists, self.users.targets)
        everybody, tail_target = np.ones(len(self.users), bool), catalogue.in_tail[self.users.targets]
        figures = {
            "overlap@10": self.mean(overlaps(lists, self.before)),
            "ndcg@10": self.mean(gain),
            "ndcg@10_kept": self._ratio(gain, self.gains_before, everybody),
            "ndcg@10_long_tail": self.mean(gain, tail_target),
            "ndcg@10_niche": self.mean(gain, self.is_niche),
            "ndcg@10_mainstream": self.mean(gain, ~self.is_niche),
            "average_popularity": self.mean(_of_places(lists, popularity)),
            "long_tail_share": self.mean(_of_places(lists, catalogue.in_tail)),
            **self._of_catalogue(lists),
        }
        if self.carriers is not None:
            share, share_before = _of_places(lists, self.carriers), _of_places(self.before, self.carriers)
            figures["feature_share"] = self.mean(share)
            figures["feature_share_change"] = self.mean(share - share_before)
        figures["other_features_moved"] = self._others_moved(lists)
        return figures

    def mean(self, values: np.ndarray, of: np.ndarray | None = None) -> Figure:
        """Mean of a value of each user (S,); of some of them where `of` (S,) says which."""
        of = np.ones(len(values), bool) if of is None else of
        return self._ratio(values.astype(np.float64), np.ones(len(values)), of)

    def _ratio(self, above: np.ndarray, below: np.ndarray, of: np.ndarray) -> Figure:
        above, below = np.where(of, above, 0.0), np.where(of, below, 0.0)
        whole = below.sum()
        if whole <= 0:
            return Figure(float("nan"), float("nan"), float("nan"))
        drawn = self.weights @ below
        ratios = (self.weights @ above)[drawn > 0] / drawn[drawn > 0]
        return _figure(above.sum() / whole, ratios)

    def _of_catalogue(self, lists: np.ndarray) -> dict[str, Figure]:
        """Coverage, long-tail coverage and Gini, of the items that stand in any list."""
        users, places = np.nonzero(lists >= 0)
        items, codes = np.unique(lists[users, places], return_inverse=True)
        tail, n, in_tail = self.catalogue.in_tail[items], self.catalogue.item_count, self.catalogue.in_tail.sum()

        def measured(counts: np.ndarray) -> tuple[float, float, float]:
            found = counts > 0
            return found.sum() / n, (found & tail).sum() / max(in_tail, 1), gini(counts, n)

        whole = measured(np.bincount(codes, minlength=len(items)))
        drawn = [measured(np.bincount(codes, weights=w[users], minlength=len(items))) for w in self.weights]
        names = ("catalogue_coverage", "long_tail_coverage", "gini")
        return {
            name: _figure(value, np.array(values))
            for name, value, values in zip(names, whole, zip(*drawn, strict=True), strict=True)
        }

    def _others_moved(self, lists: np.ndarray) -> Figure:
        """Σ |Δ share of places| over all other features of the catalogue, without derived ones."""
        is_other = ~self.catalogue.is_derived
        if self.place is not None:
            is_other[self.place] = False
        others = np.flatnonzero(is_other)
        after, before = (self._feature_sums(one)[:, others] for one in (lists, self.before))
        return _figure(np.abs(after[0] - before[0]).sum(), np.abs(after[1:] - before[1:]).sum(1))

    def _feature_sums(self, lists: np.ndarray) -> np.ndarray:
        """Share of the places with each feature: of all users, then of each draw, (1 + DRAWS, F)."""
        users, places = np.nonzero(lists >= 0)
        items, codes = np.unique(lists[users, places], return_inverse=True)
        every = np.vstack([np.ones(len(self.users)), self.weights])
        counts = np.stack([np.bincount(codes, weights=w[users], minlength=len(items)) for w in every])
        carried = np.asarray(counts @ self.catalogue.carried[items])
        shares: np.ndarray = carried / np.maximum(counts.sum(1), 1)[:, None]
        return shares


def _of_places(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean value of the items of each list, (S,); 0 without items."""
    there = lists >= 0
    taken = np.where(there, values[np.maximum(lists, 0)], 0.0)
    means: np.ndarray = taken.sum(1) / np.maximum(there.sum(1), 1)
    return means


def _figure(value: float, drawn: np.ndarray) -> Figure:
    # Of coverage and Gini the draws lie beside the value, as a draw leaves users out; their spread is what counts.
    error = Z * float(np.std(drawn)) if len(drawn) else float("nan")
    return Figure(float(value), float(value) - error, float(value) + error)
