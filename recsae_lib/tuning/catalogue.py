"""What lists are measured by: how popular each item is, and which features it has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.bulk import stream_columns

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


def catalogue_of(
    popularity: np.ndarray, pairs: Mapping[bool, tuple[np.ndarray, pa.StringArray]], minimum_items: int
) -> Catalogue:
    """Put a catalogue together.

    Parameters
    ----------
    pairs : of derived features (True) and of the others: item indices, and the feature of each; a pair may stand twice.
    minimum_items : items that a feature needs.
    """
    names: list[str] = []
    derived: list[bool] = []
    columns = [sparse.csc_matrix((len(popularity), 0))]
    for is_derived, (items, features) in pairs.items():
        encoded = features.dictionary_encode()
        found = encoded.dictionary.to_pylist()
        carried = sparse.csc_matrix(
            (np.ones(len(items)), (items, encoded.indices.to_numpy())), (len(popularity), len(found))
        )
        carried.data[:] = 1.0
        enough = np.flatnonzero(np.diff(carried.indptr) >= minimum_items)
        order = enough[np.argsort([found[place] for place in enough], kind="stable")]
        names += [found[place] for place in order]
        derived += [is_derived] * len(order)
        columns.append(carried[:, order])
    return Catalogue(popularity, tuple(names), np.array(derived, dtype=bool), sparse.hstack(columns, format="csr"))


def read_catalogue(folder: str, item_count: int, minimum_items: int) -> Catalogue:
    """Read a catalogue from a folder that `tuning.catalogue_rows` describes, without the titles.

    Raises
    ------
    InputError : the folder is missing or holds other items.
    """
    popularity = np.full(item_count, -1, dtype=np.int64)
    found: dict[str, list[tuple[np.ndarray, pa.Array]]] = {"features": [], "derived": []}
    try:
        for batch in stream_columns(folder, ["item_index", "interactions", *found]):
            items = batch.column("item_index").to_numpy()
            popularity[items] = batch.column("interactions").to_numpy()
            for name, parts in found.items():
                lists = batch.column(name)
                pairs = np.repeat(items, np.diff(lists.offsets.to_numpy())), lists.flatten()
                there = pairs[1].is_valid()
                parts.append((pairs[0][there.to_numpy(zero_copy_only=False)], pairs[1].filter(there)))
    except (OSError, IndexError, KeyError, ValueError, pa.ArrowException) as error:
        raise _refused(folder, str(error)) from error
    if (popularity < 0).any():
        raise _refused(folder, f"{(popularity < 0).sum():,} of {item_count:,} items are missing")
    of_kinds = {
        name == "derived": (
            np.concatenate([np.empty(0, np.int32), *(items for items, _ in parts)]),
            pa.concat_arrays([pa.array([], pa.string()), *(features for _, features in parts)]),
        )
        for name, parts in found.items()
    }
    return catalogue_of(popularity, of_kinds, minimum_items)


@dataclass(frozen=True)
class CatalogueFiles:
    """Where a catalogue lies: the folder, and the items that a feature needs."""

    folder: str
    minimum_items: int


@lru_cache(maxsize=1)
def worker_catalogue(files: CatalogueFiles, item_count: int) -> Catalogue:
    """Load a catalogue once a worker process."""
    return read_catalogue(files.folder, item_count, files.minimum_items)


def read_titles(folder: str, items: np.ndarray) -> dict[int, str]:
    """Titles of some items, by item index."""
    wanted = pa.array(np.unique(items), pa.int32())
    titles: dict[int, str] = {}
    for batch in stream_columns(folder, ["item_index", "title"]):
        some = batch.filter(pc.is_in(batch.column("item_index"), wanted))
        titles.update(zip(some.column("item_index").to_pylist(), some.column("title").to_pylist(), strict=True))
    return titles


def find_titled(folder: str, title: str) -> int:
    """Index of the item of a title, whatever the case; the start of a title does where no other starts so.

    Raises
    ------
    InputError : no title is like that, or several are; some of them are given.
    """
    wanted, found = title.casefold(), {}
    for batch in stream_columns(folder, ["item_index", "title"]):
        for item, other in zip(batch.column("item_index").to_pylist(), batch.column("title").to_pylist(), strict=True):
            if other.casefold().startswith(wanted):
                found[item] = other
    exact = [item for item, other in found.items() if other.casefold() == wanted]
    dated = [item for item, other in found.items() if re.fullmatch(r"\s*\(.*\)", other[len(title) :])]
    for chosen in (exact, dated, list(found)):
        if len(chosen) == 1:
            return chosen[0]
    listed = "; ".join(sorted(found.values())[:NEAREST_NAMES])
    raise InputError(
        f"{'No' if not found else 'More than one'} item has a title that starts with {title!r}",
        f"Name one of: {listed}" if found else 'Look it up: recsae sql "SELECT item_id, title FROM items"',
    )


def _refused(folder: str, cause: str) -> InputError:
    return InputError(
        f"{folder} does not hold the items of the recommender ({cause})", "Run the job extract_representations again"
    )
