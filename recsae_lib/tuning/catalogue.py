"""What lists are measured by: how popular each item is, and which features it has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from recsae_lib.errors import InputError

HEAD_SHARE = 0.8  # of the training interactions that the head of the catalogue makes
NEAREST_NAMES = 5  # that a refusal proposes


@dataclass(frozen=True)
class Catalogue:
    """The items of a recommender, by item index.

    Parameters
    ----------
    popularity : (n,) int64 training interactions; dev and test are left out.
    features : (F,) names of the item features that count, those that were derived among them.
    is_derived : (F,) bool, whether a feature was derived.
    carried : (n, F) CSR of ones, which item has which feature.
    """

    popularity: np.ndarray
    features: tuple[str, ...]
    is_derived: np.ndarray
    carried: sparse.csr_matrix

    @classmethod
    def of_lists(cls, popularity: np.ndarray, carriers: Mapping[tuple[str, bool], np.ndarray]) -> Catalogue:
        """Put a catalogue together.

        Parameters
        ----------
        carriers : item indices with each feature, by its name and whether it was derived.
        """
        names = sorted(carriers)
        places = np.repeat(np.arange(len(names)), [len(carriers[name]) for name in names])
        items = np.concatenate([np.empty(0, np.int64), *(carriers[name] for name in names)]).astype(np.int64)
        shape = (len(popularity), len(names))
        carried = sparse.csr_matrix((np.ones(len(items)), (items, places)), shape)
        carried.data[:] = 1.0  # an item that states a feature twice
        return cls(
            popularity, tuple(name for name, _ in names), np.array([derived for _, derived in names], bool), carried
        )

    @property
    def item_count(self) -> int:
        """Number of items, n."""
        return len(self.popularity)

    @cached_property
    def in_tail(self) -> np.ndarray:
        """(n,) bool: items outside those that make the first `HEAD_SHARE` of the interactions, most popular first."""
        order = np.argsort(-self.popularity, kind="stable")
        before = np.cumsum(self.popularity[order]) - self.popularity[order]
        tail = np.zeros(self.item_count, dtype=bool)
        tail[order] = before >= HEAD_SHARE * self.popularity.sum()
        return tail

    def place_of(self, feature: str) -> int:
        """Place of a feature among `features`.

        Raises
        ------
        InputError : there is none of this name; the nearest names are given.
        """
        if feature in self.features:
            return self.features.index(feature)
        near = difflib.get_close_matches(feature, self.features, n=NEAREST_NAMES, cutoff=0.0)
        raise InputError(
            f"No item feature {feature!r} belongs to enough items of the recommender (coverage."
            "minimum_document_frequency)",
            f"Name one of these, or another that has: {', '.join(near) or 'there is none'}",
        )

    def carriers(self, place: int) -> np.ndarray:
        """(n,) float64: 1 for items with a feature, 0 for the others."""
        values: np.ndarray = np.asarray(self.carried[:, [place]].todense(), dtype=np.float64).ravel()
        return values
