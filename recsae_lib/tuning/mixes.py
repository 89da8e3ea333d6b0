"""Ways to give lists a wanted mix of features: by the SAE's latents, by other directions, by re-ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.recommend import BLOCK_SCORES
from recsae_lib.tuning.calibration import CANDIDATES, Mix, calibrated_lists, mixed_lists
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import BLOCK_USERS, best_lists
from recsae_lib.tuning.methods import COMPARED, RERANKING, SAE, best_scores
from recsae_lib.tuning.targets import Target
from recsae_lib.tuning.world import World, decoder_of, encode

MOST_FEATURES = 64  # of a history


def mix_of(tuning: TuningSettings, world: World) -> Mix:
    """Find the features of a mix; of a history the `MOST_FEATURES` catalogue features of most items.

    Raises
    ------
    InputError : a feature is unknown; the nearest names are given. Or there is none.
    """
    catalogue = world.catalogue
    if isinstance(tuning.mix, dict):
        places = np.array([catalogue.place_of(feature) for feature in tuning.mix], dtype=np.int64)
        return Mix(places, np.array(list(tuning.mix.values())))
    counts = np.where(catalogue.is_derived, 0, np.asarray(catalogue.carried.sum(0)).ravel())
    places = np.sort(np.argsort(-counts, kind="stable")[: min(MOST_FEATURES, int((counts > 0).sum()))])
    if not len(places):
        raise InputError(f"tuning {tuning.name}: no item feature belongs to enough items", "Give items features")
    return Mix(places, None)


@dataclass(frozen=True)
class SteeredMix:
    """Lists steered to each feature, joined in proportion.

    Parameters
    ----------
    name : of the method.
    mix : what is wanted.
    carried : (n, F) which item has which feature.
    directions : (G, d) float32 of unit length, one a feature.
    """

    name: str
    mix: Mix
    carried: sparse.csr_matrix
    directions: np.ndarray
    most: float = float("inf")

    def lists(self, recommender: Recommender, users: Users, strength: float) -> np.ndarray:
        """Lists of users at a strength."""
        wanted = self.mix.wanted(users, self.carried)
        return mixed_lists(recommender, users, wanted, self.directions, strength)

    def unit(self, users: Users, recommender: Recommender) -> float:
        """A hundredth of the spread of x."""
        return 0.01 * float(np.sqrt(np.mean(np.sum((users.x - users.x.mean(0)) ** 2, axis=1)))) or 0.01


@dataclass(frozen=True)
class CalibratedReranking:
    """The first `CANDIDATES` items of each user re-ranked, `calibrated_lists`.

    Parameters
    ----------
    mix, carried : as of `SteeredMix`.
    """

    mix: Mix
    carried: sparse.csr_matrix
    name: str = RERANKING
    most: float = float("inf")

    def lists(self, recommender: Recommender, users: Users, strength: float) -> np.ndarray:
        """Lists of users at a strength."""
        candidates = best_lists(recommender, users, users.x, length=min(CANDIDATES, recommender.item_count))
        scores = _scores_of(recommender, users.x, candidates)
        wanted = self.mix.wanted(users, self.carried)
        return calibrated_lists(candidates, scores, wanted, self.carried[:, self.mix.places], strength)

    def unit(self, users: Users, recommender: Recommender) -> float:
        """A hundredth of the spread of scores."""
        return 0.01 * float(np.std(best_scores(recommender, users.x[:64]))) or 0.01


def mix_methods(mix: Mix, world: World) -> tuple[np.ndarray, list[SteeredMix | CalibratedReranking]]:
    """The latents that stand for the features, (G,), and all methods, the SAE's first."""
    carried = world.catalogue.carried
    targets = [Target.of(world.catalogue.carriers(int(place)), world.vectors, world.moments) for place in mix.places]
    latents = _best_units(targets, world.decoder, world.energy > 0, world)
    methods: list[SteeredMix | CalibratedReranking] = [SteeredMix(SAE, mix, carried, _unit(world.decoder[latents]))]
    for kind in COMPARED:
        if kind in world.others:
            other = world.others[kind]
            activations, ids = encode(other, world.dev.x)
            live = np.bincount(ids[activations > 0], minlength=other.num_latents) > 0
            rows = decoder_of(other)[_best_units(targets, decoder_of(other), live, world)]
            methods.append(SteeredMix(kind.value, mix, carried, _unit(rows)))
    methods += [
        SteeredMix("item_mean", mix, carried, _unit(np.stack([target.contrast for target in targets]))),
        SteeredMix("ridge_probe", mix, carried, _unit(np.stack([target.probe(world.moments) for target in targets]))),
        CalibratedReranking(mix, carried),
    ]
    return latents, methods


def _best_units(targets: list[Target], decoder: np.ndarray, live: np.ndarray, world: World) -> np.ndarray:
    scores = np.stack([target.scores(decoder, world.moments) for target in targets])
    units: np.ndarray = np.where(live, scores, -np.inf).argmax(1)
    return units


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0).astype(np.float32)
    return unit


@torch.no_grad()
def _scores_of(recommender: Recommender, x: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Scores (S, C) of some items of each user."""
    scores = np.empty(items.shape, dtype=np.float32)
    rows = max(1, min(BLOCK_USERS, BLOCK_SCORES // recommender.item_count))
    for start in range(0, len(x), rows):
        block = recommender.score(torch.from_numpy(np.ascontiguousarray(x[start : start + rows]))).numpy()
        scores[start : start + rows] = np.take_along_axis(block, np.maximum(items[start : start + rows], 0), axis=1)
    return scores
