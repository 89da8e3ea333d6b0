"""What every user is recommended under each tuning (METHOD.md section 8), all tunings in one pass over the users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame
from scipy import sparse

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.histories import histories_from_arrow
from recsae_lib.recommenders.probing import Site, find_sites, probe
from recsae_lib.recommenders.protocol import Histories, Recommender
from recsae_lib.recommenders.recommend import (
    best_unseen,
    list_columns,
    own_representations,
    users_at_once,
    users_to_score,
)
from recsae_lib.recommenders.replacing import represent_from, require_way_on
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.worker import worker_item_ids, worker_recommender
from recsae_lib.sae.encoding import worker_sae
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.calibration import ResolvedMix, mixed_lists
from recsae_lib.tuning.catalogue import CatalogueFiles, worker_catalogue
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.moves import ResolvedTuning, moved
from recsae_lib.tuning.shifts import best_under_shifts

TUNED_COLUMNS = "tuning string, user_id string, item_ids array<string>, scores array<float>, changed int"
STEP_USERS = 1024  # users, about, whose moved representations are held at once, under one tuning
SCORED_USERS = 256  # of them scored at once: a fifth more of them a second than 64


def tune(
    histories: DataFrame,
    model_folder: Path,
    sae_folder: Path,
    tunings: Sequence[ResolvedTuning | ResolvedMix],
    site: str,
    top_n: int,
    block_users: int,
    factory: str | None = None,
    representations: DataFrame | None = None,
    catalogue: CatalogueFiles | None = None,
) -> DataFrame:
    """Recommend unseen items to every user under each of some tunings.

    Parameters
    ----------
    histories, model_folder, top_n, block_users, factory, representations : as `recommend`.
    sae_folder : folder of `sae.store`, of the dictionary of the site.
    site : probing site whose representations are moved. At an inner one the model goes on from them (`replacing`).
    catalogue : what is known of the items; only mixes read it.

    Returns
    -------
    DataFrame : `TUNED_COLUMNS`, a row for each tuning and user; `changed` is how many of the items are not among those
        that `recommend` gives. Where a tuning does not move a user, they are those that `recommend` gives, to the bit.

    Raises
    ------
    InputError : nothing can be scored from the site, or the dictionary is of another one; (when the rows are computed)
        a strength makes numbers too large.
    """
    require_vectors(model_folder, factory)
    stored = load_recommender(model_folder, factory)
    place = _place(stored, load_sae(sae_folder).dimension, site)
    model_files, sae_files = (ship_folder(histories.sparkSession, folder) for folder in (model_folder, sae_folder))

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model, item_ids = worker_recommender(model_files, factory), worker_item_ids(model_files)
        carried = None
        if catalogue is not None and any(isinstance(tuning, ResolvedMix) for tuning in tunings):
            carried = worker_catalogue(catalogue, model.item_count).carried
        sae = worker_sae(Path(sae_files))
        tuner = Tuner(model, sae, place, tuple(tunings), item_ids, top_n, block_users, carried)
        return tuner.run(batches)

    return users_to_score(histories, stored, representations).mapInArrow(run, TUNED_COLUMNS)


def require_vectors(model_folder: Path, factory: str | None) -> None:
    """Raise InputError where nobody knows what a moved representation would be recommended."""
    model = load_recommender(model_folder, factory)
    if model.kind == External.kind and not model.dimension:
        raise InputError(
            "Recommendations of your own come without item vectors: nobody knows what a moved representation would be "
            "recommended",
            "Set recommender.external.item_embeddings, or leave tunings out (tunings: [])",
        )


def _place(model: Recommender, dimension: int, site: str) -> Site:
    """Find the site; raise InputError where representations there cannot be moved and then scored."""
    (place,) = find_sites(model, [site])
    if place.dimension != dimension:
        raise InputError(
            f"Representations at {site} have {place.dimension} dimensions, the SAE takes {dimension}",
            "Train it for this recommender (train_sae)",
        )
    require_way_on(model, place)
    return place


@dataclass(frozen=True)
class Untuned:
    """Some users as they are.

    Parameters
    ----------
    user_ids, histories : of each.
    x : (users, d) float32, representations at the site.
    activations, latent_ids : (users, k), what `SparseAutoencoder.encode` says of x.
    lists : (items, scores), (users, top_n) each, what `top_items` gives: of x, then of each of `Tuner.shifts`.
    """

    user_ids: pa.StringArray
    histories: Histories
    x: np.ndarray
    activations: np.ndarray
    latent_ids: np.ndarray
    lists: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Tuner:
    """A recommender and a dictionary at one of its sites, in a Python worker.

    Parameters
    ----------
    tunings : to be done.
    item_ids : (item_count,) id of each item index.
    top_n, block_users : as `recommend`.
    carried : (n, F) which item has which feature; None without mixes.
    """

    model: Recommender
    sae: SparseAutoencoder
    site: Site
    tunings: tuple[ResolvedTuning | ResolvedMix, ...]
    item_ids: pa.StringArray
    top_n: int
    block_users: int
    carried: sparse.csr_matrix | None = None

    @cached_property
    def shifts(self) -> dict[str, np.ndarray]:
        """Step of each tuning that moves everybody alike, by its name, where scores are linear in what is moved."""
        if self.site.name != DEFAULT_SITE or not self.model.dot_scored:
            return {}
        moves = (tuning for tuning in self.tunings if isinstance(tuning, ResolvedTuning))
        steps = {tuning.name: self._step(tuning) for tuning in moves if tuning.move.mode == "add"}
        return {name: step for name, step in steps.items() if step.any()}

    def _step(self, tuning: ResolvedTuning) -> np.ndarray:
        nowhere, nothing = np.zeros((1, self.site.dimension), np.float32), np.zeros((1, 0), np.float32)
        return self._moved(nowhere, nothing, nothing, tuning)[0]

    def run(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn batches of (user_id, user_index, item_indices[, representation]) into `TUNED_COLUMNS`."""
        size = users_at_once(self.model, self.block_users)
        step = size * max(STEP_USERS // size, 1)  # whole blocks: those of `recommend`
        for batch in batches:
            for start in range(0, batch.num_rows, step):
                untuned = self.untuned(batch.slice(start, step))
                for tuning in self.tunings:
                    yield self._rows(untuned, tuning)

    def untuned(self, step: pa.RecordBatch) -> Untuned:
        """Represent, encode and score users, in the blocks in which `recommend` does."""
        size = users_at_once(self.model, self.block_users)
        blocks = [self._as_it_is(step.slice(start, size)) for start in range(0, step.num_rows, size)]
        x, activations, latent_ids, *lists = map(np.concatenate, zip(*blocks, strict=True))
        histories = histories_from_arrow(step.column("user_index"), step.column("item_indices"))
        pairs = list(zip(lists[::2], lists[1::2], strict=True))
        return Untuned(step.column("user_id"), histories, x, activations, latent_ids, pairs)

    def _as_it_is(self, block: pa.RecordBatch) -> tuple[np.ndarray, ...]:
        histories = histories_from_arrow(block.column("user_index"), block.column("item_indices"))
        if "representation" in block.schema.names:
            x = last = own_representations(block, self.model)
        else:
            end = Site(DEFAULT_SITE, "user", self.model.dimension)
            read = probe(self.model, self.model.build_inputs(histories), [self.site, end])
            x, last = read[self.site.name], read[end.name]
        activations, latent_ids = self.sae.encode(x)
        shifts = np.array(list(self.shifts.values()), np.float32).reshape(len(self.shifts), last.shape[1])
        best = best_under_shifts(self.model, last, shifts, histories, self.top_n)
        return x.numpy(), activations.numpy(), latent_ids.numpy(), *chain.from_iterable(best)

    def tuned(self, untuned: Untuned, tuning: ResolvedTuning | ResolvedMix) -> tuple[np.ndarray, np.ndarray]:
        """Recommend to users under a tuning: (items, scores), of those whom it does not move as they are."""
        if isinstance(tuning, ResolvedMix):
            return self._mixed(untuned, tuning)
        if tuning.name in self.shifts:
            return untuned.lists[1 + list(self.shifts).index(tuning.name)]
        x = self._moved(untuned.x, untuned.activations, untuned.latent_ids, tuning)
        rows = np.flatnonzero((x != untuned.x).any(1))
        items, scores = (column.copy() for column in untuned.lists[0])
        size = users_at_once(self.model, max(self.block_users, SCORED_USERS))
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            histories = untuned.histories.take(chosen)
            last = self._go_on(histories, torch.from_numpy(x[chosen]))
            _finite(last.numpy(), tuning)
            items[chosen], scores[chosen] = best_unseen(self.model, last, histories, self.top_n)
        return items, scores

    def _mixed(self, untuned: Untuned, tuning: ResolvedMix) -> tuple[np.ndarray, np.ndarray]:
        """Lists of a mix; an item's score is 1 / its place, as the lists that items come from are scored apart."""
        assert self.carried is not None
        histories = untuned.histories
        users = Users(untuned.x, np.zeros(len(untuned.x), np.int64), histories.offsets, histories.items)
        directions = self.sae.W_dec.detach().numpy()[tuning.latents]
        _finite(directions * np.float32(tuning.strength), tuning)
        wanted = tuning.mix.wanted(users, self.carried)
        items = mixed_lists(self.model, users, wanted, directions, tuning.strength, self.top_n)
        places = np.arange(1, self.top_n + 1, dtype=np.float32)
        return items, np.where(items >= 0, 1 / places, -np.inf).astype(np.float32)

    def _moved(
        self, x: np.ndarray, activations: np.ndarray, latent_ids: np.ndarray, tuning: ResolvedTuning
    ) -> np.ndarray:
        decoder = self.sae.W_dec.detach().numpy()
        with np.errstate(over="ignore"):
            result = moved(x, activations, latent_ids, decoder, tuning.move, tuning.strength)
        return _finite(result, tuning)

    def _go_on(self, histories: Histories, x: torch.Tensor) -> torch.Tensor:
        if self.site.name == DEFAULT_SITE:
            return x
        return represent_from(self.model, self.model.build_inputs(histories), self.site, x)

    def _rows(self, untuned: Untuned, tuning: ResolvedTuning | ResolvedMix) -> pa.RecordBatch:
        items, scores = self.tuned(untuned, tuning)
        columns = [
            pa.repeat(pa.scalar(tuning.name), len(items)),
            untuned.user_ids,
            *list_columns(items, scores, self.item_ids),
            pa.array(places_changed(items, untuned.lists[0][0]), pa.int32()),
        ]
        return pa.RecordBatch.from_arrays(columns, names=["tuning", "user_id", "item_ids", "scores", "changed"])


def _finite(vectors: np.ndarray, tuning: ResolvedTuning | ResolvedMix) -> np.ndarray:
    if not np.isfinite(vectors).all():
        raise InputError(
            f"Tuning {tuning.name} moves representations beyond all numbers (strength {tuning.strength:g})",
            "Choose a smaller strength",
        )
    return vectors


def places_changed(items: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Count the items of each row that are not in the same row of `before`; -1 is no item."""
    first_key = np.arange(len(items))[:, None] * (max(items.max(initial=0), before.max(initial=0)) + 2)
    changed: np.ndarray = ((items >= 0) & ~np.isin(first_key + items, first_key + before)).sum(1)
    return changed
