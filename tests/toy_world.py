"""A toy recommender whose right concepts are known, with a dictionary that has found them, for the tests of judges.

Users like two of the features. A coordinate of x says how much they like each, and an item's score is the coordinate of
its feature times its own number. Two more coordinates are read by no item: `IDLE` is large for the users who like
feature 0, `BLANK` for users drawn at random. Unit n of the dictionary reads and writes coordinate n.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.levels import live_latents
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import Settings
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.sae.encoding import ENCODED_COLUMNS, encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.verification.judging import JudgedDictionary, ScoringModel
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.verdicts import Verdicts, judge

FEATURES = [f"genre{number:02d}" for number in range(40)]
IDLE, BLANK = len(FEATURES), len(FEATURES) + 1
UNITS = len(FEATURES) + 2
USERS, LIKED, ITEMS_A_FEATURE, LINKED, SEEN = 2000, 2, 30, 15, 2
ACTIVE = LIKED + 2  # units that fire for a user at most
REPLICA_ORDER = np.random.default_rng(7).permutation(UNITS)  # unit n of the replica is that of this place


class Named(NamedTuple):
    """The live units of a dictionary, their terms and their items."""

    live: DataFrame
    terms: DataFrame
    latent_items: DataFrame


class ToyWorld:
    """Everything that `judge` takes; `folder` holds recommender, sae and replica."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder, self.settings = spark, folder, Settings()
        random = np.random.default_rng(17)
        self.x = random.normal(0, 0.1, (USERS, UNITS)).astype(np.float32)
        liked = np.stack([random.choice(len(FEATURES), LIKED, replace=False) for _ in range(USERS)])
        np.put_along_axis(self.x, liked, random.uniform(2, 4, liked.shape).astype(np.float32), axis=1)
        of_idle = np.flatnonzero((liked == 0).any(axis=1))
        for unit, users in ((IDLE, of_idle), (BLANK, random.choice(USERS, 100, replace=False))):
            self.x[users, unit] = random.uniform(2, 4, len(users))
        feature = np.repeat(np.arange(len(FEATURES)), ITEMS_A_FEATURE)
        self.names = [f"i{n:04d}" for n in range(len(feature))]
        vectors = np.zeros((len(feature), UNITS), np.float32)
        vectors[np.arange(len(feature)), feature] = random.uniform(0.5, 1.5, len(feature))
        scores = self.x @ vectors.T
        seen = np.stack([ITEMS_A_FEATURE * liked[:, 0] + n for n in random.integers(0, ITEMS_A_FEATURE, SEEN)], axis=1)
        np.put_along_axis(scores, seen, -np.inf, axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :LINKED]
        best = np.where(random.random(best.shape) < 0.2, random.integers(0, len(feature), best.shape), best)
        user_ids = [f"u{n}" for n in range(USERS)]
        make = spark.createDataFrame
        self.items = make(
            [(name, "", f"night {n % 7}", [FEATURES[feature[n]]]) for n, name in enumerate(self.names)],
            "item_id string, title string, text string, features array<string>",
        ).cache()
        self.linked = make(
            [
                (user, [self.names[item] for item in dict.fromkeys(row)])
                for user, row in zip(user_ids, best, strict=True)
            ],
            "user_id string, item_ids array<string>",
        ).cache()
        self.interactions = make(
            [(user, self.names[item]) for user, row in zip(user_ids, seen, strict=True) for item in row],
            "user_id string, item_id string",
        ).cache()
        self._save(vectors)

    def _save(self, vectors: np.ndarray) -> None:
        model = BprMf(1, len(vectors), UNITS)
        with torch.no_grad():
            model.items.weight.copy_(torch.from_numpy(vectors))
        (self.folder / "recommender").mkdir(parents=True)
        write_vocabulary(self.folder / "recommender", "item", [pa.array(self.names)])
        write_vocabulary(self.folder / "recommender", "user", [pa.array(["u0"])])
        save_recommender(model, Split(), self.folder / "recommender")
        self.save_dictionary("sae", np.eye(UNITS), bias=-0.5)
        tilted = np.eye(UNITS)[REPLICA_ORDER] + np.random.default_rng(8).normal(0, 0.01, (UNITS, UNITS))
        self.save_dictionary("replica", tilted, bias=-0.6)

    def save_dictionary(self, name: str, directions: np.ndarray, bias: float) -> Path:
        """Save an SAE whose units read and write directions, (units, d)."""
        rows = torch.nn.functional.normalize(torch.from_numpy(directions.astype(np.float32)))
        sae = SparseAutoencoder(rows.clone(), torch.full((len(rows),), bias), rows, torch.zeros(UNITS), ACTIVE)
        save_sae(sae, self.folder / name, {})
        return self.folder / name

    @property
    def audited(self) -> JudgedDictionary:
        """The dictionary that has found the concepts, whose replica has found them as well."""
        return JudgedDictionary(0, self.folder / "sae", self.folder / "replica")

    @cached_property
    def around(self) -> Surroundings:
        """What the units are judged in."""
        model = ScoringModel(self.folder / "recommender", None)
        return Surroundings(self.representations(np.arange(USERS)), self.linked, self.items, self.interactions, model)

    def permuted(self) -> Surroundings:
        """The same with representations permuted among the users: activations then say nothing about linked items."""
        order = np.random.default_rng(1).permutation(USERS)
        return replace(self.around, representations=self.representations(order))

    def representations(self, of_user: np.ndarray) -> DataFrame:
        """Give user n the representation of user `of_user[n]`."""
        rows = [(f"u{n}", self.x[user].tolist()) for n, user in enumerate(of_user)]
        return self.spark.createDataFrame(rows, "user_id string, representation array<float>").cache()

    def named(self, around: Surroundings) -> Named:
        """Name the units of the dictionary by the construct half."""
        encode = encode_batches(ship_folder(self.spark, self.folder / "sae"))
        activations = around.representations.mapInArrow(encode, ENCODED_COLUMNS).cache()
        construct = in_construct_half(F.col("user_id"), self.settings.evidence.salt)
        latent_items = link_latents_to_items(
            activations.where(construct), around.linked, self.settings.evidence.items_per_latent
        ).cache()
        return Named(
            live_latents(activations),
            concept_terms(latent_items, around.items, self.settings.terms).cache(),
            latent_items,
        )

    def judge(self, around: Surroundings, named: Named, shuffle: bool = False) -> Verdicts:
        """Judge the dictionary by its names."""
        live, terms, latent_items = named
        return judge([self.audited], live, terms, latent_items, around, self.audited, self.settings, shuffle)
