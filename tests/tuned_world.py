"""A small world with a known truth for tunings: item vectors say a feature, users follow one, latents are features."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.tuning.catalogue import catalogue_of
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.world import World

FEATURES = ("comedy", "crime", "horror", "musical", "romance", "space", "war", "western")
ITEMS, DIMENSION, USERS = 240, 16, 160


def recommender_of(vectors: np.ndarray) -> Any:
    """A recommender that scores by dot product with item vectors."""
    matrix = torch.from_numpy(vectors)
    return SimpleNamespace(
        dot_scored=True,
        item_count=len(vectors),
        dimension=vectors.shape[1],
        item_embeddings=lambda: matrix,
        score=lambda x: x @ matrix.T,
    )


def planted_world(seed: int = 11) -> World:
    """Items of 8 features, users who like one of them, an SAE whose latent l is feature l, and an untrained one."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0][: len(FEATURES)].astype(np.float32)
    feature_of = np.arange(ITEMS) % len(FEATURES)
    vectors = (directions[feature_of] + 0.15 * random.standard_normal((ITEMS, DIMENSION))).astype(np.float32)
    pairs = {False: (np.arange(ITEMS), pa.array([FEATURES[place] for place in feature_of]))}
    popularity = random.permutation(np.round(2000 / np.arange(1, ITEMS + 1)).astype(np.int64))

    def users() -> Users:
        liked = np.arange(USERS) % len(FEATURES)
        second = random.integers(0, len(FEATURES), USERS)
        x = 2.0 * directions[liked] + directions[second] + 0.1 * random.standard_normal((USERS, DIMENSION))
        histories, targets = [], []
        for feature in liked:
            own = random.permutation(np.flatnonzero(feature_of == feature))
            histories.append(np.sort(own[:6]))
            targets.append(own[6])
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in histories])]).astype(np.int64)
        return Users(x.astype(np.float32), np.array(targets), offsets, np.concatenate(histories))

    def sae(rows: np.ndarray) -> SparseAutoencoder:
        weights = torch.from_numpy(rows)
        return SparseAutoencoder(weights, torch.zeros(len(rows)), weights.clone(), torch.zeros(DIMENSION), k=3)

    untrained = random.standard_normal((len(FEATURES), DIMENSION))
    untrained /= np.linalg.norm(untrained, axis=1, keepdims=True)
    return World(
        recommender=recommender_of(vectors),
        vectors=vectors,
        item_ids=np.array(sorted(f"i{item:03d}" for item in range(ITEMS))),
        sae=sae(directions),
        others={UnitKind.UNTRAINED: sae(untrained.astype(np.float32))},
        catalogue=catalogue_of(popularity, pairs, minimum_items=5),
        dev=users(),
        test=users(),
        seed=5,
    )
