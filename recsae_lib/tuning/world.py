"""What tunings are resolved and measured in: recommender, item vectors, dictionaries, catalogue, held-out users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.tuning.catalogue import Catalogue
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.output_scores import ItemMoments


@dataclass(frozen=True)
class World:
    """All that a tuning is resolved and measured with, at the site from which items are scored.

    Parameters
    ----------
    recommender : scores moved representations.
    vectors : (n, d) item vectors; of a model that scores by a method the mean slope of its scores (`item_vectors`).
    item_ids : (n,) ids by item index, rising.
    sae : the dictionary whose latents are turned.
    others : dictionaries that it is compared with, by kind.
    catalogue : popularity and features.
    dev : users on whom strengths are chosen.
    test : users on whom everything is measured.
    seed : of everything random.
    """

    recommender: Recommender
    vectors: np.ndarray
    item_ids: np.ndarray
    sae: SparseAutoencoder
    others: Mapping[UnitKind, SparseAutoencoder]
    catalogue: Catalogue
    dev: Users
    test: Users
    seed: int
    _codes: dict[int, tuple[Users, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    @cached_property
    def moments(self) -> ItemMoments:
        """Moments of the item vectors."""
        return ItemMoments.of(self.vectors)

    @cached_property
    def decoder(self) -> np.ndarray:
        """W_dec of the SAE, (M, d) float32."""
        return decoder_of(self.sae)

    def codes(self, users: Users) -> tuple[np.ndarray, np.ndarray]:
        """Activations and latent ids of users by the SAE, (S, k) each."""
        if id(users) not in self._codes:
            self._codes[id(users)] = users, encode(self.sae, users.x)  # kept with them, so that no other has their id
        return self._codes[id(users)][1]

    @cached_property
    def energy(self) -> np.ndarray:
        """Σ z² of each latent over the dev users, (M,)."""
        activations, latent_ids = self.codes(self.dev)
        squares = np.square(activations, dtype=np.float64)
        return np.bincount(latent_ids.ravel(), weights=squares.ravel(), minlength=self.sae.num_latents)


def decoder_of(sae: SparseAutoencoder) -> np.ndarray:
    """W_dec of a dictionary, (M, d) float32."""
    rows: np.ndarray = sae.W_dec.detach().cpu().numpy()
    return rows


def encode(sae: SparseAutoencoder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Activations (S, k) float32 and latent ids (S, k) int64 of representations."""
    activations, latent_ids = sae.encode(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
    return activations.cpu().numpy(), latent_ids.cpu().numpy()
