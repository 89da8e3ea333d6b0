"""Lists with the mix of each user's history: the suite against CALISSTA and calibrated re-ranking, on one audit."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsae_lib.config import TuningSettings, load_settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.tuning.calibration import exposure_errors
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import best_lists, gains, overlaps
from recsae_lib.tuning.mixes import mix_methods, mix_of
from recsae_lib.tuning.places import Places, audited_context, read_world
from recsae_lib.tuning.strength import Listing
from recsae_lib.tuning.world import World, encode
from tests.benchmarks.harness import Figure, interleaved_seconds, medians

PEER = "calissta==0.1.0"
OVERLAPS = (0.8, 0.6)
REPETITIONS, TIMED_USERS, HALVINGS = 3, 300, 12
CONDITIONS = (
    "the audit of `make audit`, which has to be there: MovieLens-100K, SASRec, its SAE; test users, lists of 10, each "
    "user's own mix of genres; strengths of all methods are halved to the same overlap with the untuned lists on dev "
    "users; one thread"
)


def measure(work: Path) -> list[Figure]:
    folder = work / "peer"
    if not (folder / "_finished").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), PEER], check=True)
        (folder / "_finished").touch()
    sys.path.append(str(folder))
    torch.set_num_threads(1)
    settings = load_settings(Path("conf/base.yaml"), Path("conf/local.yaml"))
    context = audited_context(JobContext("bench", settings, date.today()), None)
    places = Places.of_context(context)
    world = read_world(places, {}, load_recommender(places.recommender, places.factory), settings)
    mix = mix_of(TuningSettings(name="mix", mix="history"), world)
    methods = {one.name: one for one in mix_methods(mix, world)[1]}
    compared: dict[str, Listing] = {
        "recsae": methods["sae"],
        "calissta": Peer(world, mix.places),
        "re-ranking": methods["re_ranking"],
    }
    wanted, of_items = mix.wanted(world.test, world.catalogue.carried), world.catalogue.carried[:, mix.places]
    before = best_lists(world.recommender, world.test, world.test.x)
    whole = gains(before, world.test.targets).sum()
    figures = [Figure("exposure error, untuned", exposure_errors(before, wanted, of_items).mean(), "")]
    strengths: dict[str, float] = {}
    for overlap in OVERLAPS:
        for name, method in compared.items():
            strengths[name] = strength_for(method, overlap, world)
            lists = method.lists(world.recommender, world.test, strengths[name])
            at = f"{name} at overlap {overlaps(lists, before).mean():.2f}"
            figures += [
                Figure(f"exposure error, {at}", exposure_errors(lists, wanted, of_items).mean(), ""),
                Figure(f"NDCG@10 kept, {at}", gains(lists, world.test.targets).sum() / whole, ""),
            ]
    some = world.test.take(np.arange(min(TIMED_USERS, len(world.test))))
    actions = {
        name: partial(method.lists, world.recommender, some, strengths[name]) for name, method in compared.items()
    }
    rates = {
        name: len(some) / seconds for name, seconds in medians(interleaved_seconds({**actions}, REPETITIONS)).items()
    }
    return figures + [
        Figure(name, rate, "users/s", "calissta", rate / rates["calissta"]) for name, rate in rates.items()
    ]


def strength_for(method: Listing, overlap: float, world: World) -> float:
    """Strength between 0 and what the method calls most, at which about this share of the dev users' lists stays."""
    before = best_lists(world.recommender, world.dev, world.dev.x)

    def kept(strength: float) -> float:
        return float(overlaps(method.lists(world.recommender, world.dev, strength), before).mean())

    low, high = 0.0, min(method.most, 64.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) >= overlap else (low, middle)
    return low


class Peer:
    """CALISSTA's calibrator, a user at a time, on the suite's representations, item vectors and dictionary.

    Its strength is its alpha, from 0 to below 1. What the dictionary does not reconstruct is kept, as here.
    """

    name, most = "calissta", 0.999

    def __init__(self, world: World, places: np.ndarray) -> None:
        from calissta import CalisstaCalibrator, Concepts
        from calissta.steering import fit_steering_vectors

        carried = np.asarray(world.catalogue.carried[:, places].todense()).T
        self.vectors, self.decoder = world.vectors.astype(np.float64), world.decoder.astype(np.float64)
        self.world, self.users = world, world.dev
        self.user = 0
        names = [world.catalogue.features[place] for place in places]
        directions = fit_steering_vectors(self.dense(world.vectors), carried)
        self.calibrator = CalisstaCalibrator(Backbone(self), Dictionary(self), Concepts(names, carried, directions))
        self.carried = carried

    def dense(self, x: np.ndarray) -> np.ndarray:
        """Activations (rows, M) of representations."""
        activations, ids = encode(self.world.sae, x)
        whole = np.zeros((len(x), self.world.sae.num_latents))
        np.put_along_axis(whole, ids, np.maximum(activations, np.take_along_axis(whole, ids, 1)), 1)
        return whole

    def lists(self, recommender: Any, users: Users, strength: float) -> np.ndarray:
        """Lists of users at a strength, one after the other."""
        from calissta.steering import history_proportions

        self.users = users
        lists = np.full((len(users), 10), -1, dtype=np.int64)
        for self.user in range(len(users)):
            seen = users.seen_items[users.seen_offsets[self.user] : users.seen_offsets[self.user + 1]]
            wanted = history_proportions(seen, self.carried)
            found = self.calibrator.recommend(seen, wanted, alpha=max(strength, 1e-6), k=10, n_candidates=10)
            lists[self.user, : len(found)] = found
        return lists

    def unit(self, users: Users, recommender: Any) -> float:
        """A small alpha."""
        return 0.01


class Backbone:
    """A user's representation and the scores of all items."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def encode(self, history: np.ndarray) -> np.ndarray:
        return self.peer.users.x[self.peer.user]

    def decode(self, dense: np.ndarray) -> np.ndarray:
        return np.asarray(dense) @ self.peer.vectors.T


class Dictionary:
    """The SAE; its error is the context."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sparse = self.peer.dense(x[None])[0]
        return sparse, x - sparse @ self.peer.decoder

    def decode(self, sparse: np.ndarray, context: np.ndarray) -> np.ndarray:
        return np.asarray(sparse) @ self.peer.decoder + context
