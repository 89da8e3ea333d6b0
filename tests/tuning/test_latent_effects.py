"""What latents do to items and features, by Spark, held against plain loops over all items."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.concepts.publication import output_features
from recsae_lib.platform.warehouse.schemas import discrepancies
from recsae_lib.platform.warehouse.tables import LATENT_EFFECTS
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.tuning.feature_vectors import FeatureVectors, feature_vectors
from recsae_lib.tuning.item_vectors import ItemVectors
from recsae_lib.tuning.latent_effects import KEPT, latent_effects

ITEMS, UNKNOWN, DIMENSION, LATENTS, GENRES, MINIMUM = 120, 3, 5, 200, 120, 5
WAR, PLANTED = "genre07", 111  # this latent's row of W_dec points from all other items to those of this genre
LIVE = [*range(0, 130), 199]


class World:
    """Items with genres and periods, their vectors, and a dictionary; three items are not known to the recommender."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        random = np.random.default_rng(9)
        self.spark, self.folder = spark, folder
        carried = random.random((ITEMS + UNKNOWN, GENRES)) < 0.15
        carried[:, 3], carried[:, 4] = False, True  # of three items only, and of all
        carried[[1, 2, 121], 3] = True
        genres = [[f"genre{g:02d}" for g in np.flatnonzero(row)] for row in carried]
        self.of_items: list[tuple[str, list[str | None], list[str]]] = [
            (f"i{n:03d}", [*names, *names[:1], None], [f"period: {n % 4}"]) for n, names in enumerate(genres)
        ]
        war = np.array([WAR in names for names in genres[:ITEMS]])
        self.vectors = (random.standard_normal((ITEMS, DIMENSION)) + 0.8 * war[:, None]).astype(np.float32)
        directions = random.standard_normal((LATENTS, DIMENSION)).astype(np.float32)
        directions[PLANTED] = self.vectors[war].mean(0) - self.vectors[~war].mean(0)
        self.directions = torch.nn.functional.normalize(torch.from_numpy(directions))
        model = BprMf(1, ITEMS, DIMENSION)
        with torch.no_grad():
            model.items.weight.copy_(torch.from_numpy(self.vectors))
        (folder / "model").mkdir()
        write_vocabulary(folder / "model", "item", [pa.array([f"i{n:03d}" for n in range(ITEMS)])])
        write_vocabulary(folder / "model", "user", [pa.array(["u"])])
        save_recommender(model, Split(), folder / "model")
        rows = self.directions
        save_sae(
            SparseAutoencoder(rows.clone(), torch.zeros(LATENTS), rows, torch.zeros(DIMENSION), 4), folder / "sae", {}
        )

    @cached_property
    def item_vectors(self) -> ItemVectors:
        return ItemVectors.of_model(self.folder / "model", None, self.spark.range(0).toDF("user_id"))

    @cached_property
    def features(self) -> FeatureVectors:
        columns = "item_id string, features array<string>, derived_features array<string>"
        items = self.spark.createDataFrame(self.of_items, columns).repartition(3)
        return feature_vectors(items, self.item_vectors, MINIMUM)

    def effects(self, live: list[int], features: FeatureVectors) -> DataFrame:
        rows = self.spark.createDataFrame([(latent,) for latent in live], "latent_id int")
        return latent_effects(rows, self.folder / "sae", self.item_vectors, features)

    def carriers(self) -> dict[tuple[str, str], set[int]]:
        """Indices of the known items with each feature, by kind and name."""
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        for item, (_, genres, derived) in enumerate(self.of_items[:ITEMS]):
            for kind, names in (("feature", genres), ("derived", derived)):
                for name in names:
                    if name is not None:
                        found[kind, name].add(item)
        return {key: items for key, items in found.items() if MINIMUM <= len(items) < ITEMS}


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(spark, tmp_path_factory.mktemp("effects"))


@pytest.fixture(scope="module")
def effects(world: World) -> pd.DataFrame:
    return world.effects(LIVE, world.features).toPandas()


def test_features_have_the_mean_vectors_of_their_items(world: World) -> None:
    features, expected = world.features, world.carriers()
    assert len(features) == GENRES - 2 + 4
    assert list(zip(features.kinds, features.names, strict=True)) == [
        *sorted(key for key in expected if key[0] == "feature"),
        *sorted(key for key in expected if key[0] == "derived"),
    ]
    for place, key in enumerate(zip(features.kinds, features.names, strict=True)):
        assert features.counts[place] == len(expected[key])
        mean = np.mean([world.vectors[item].astype(float) for item in sorted(expected[key])], axis=0)
        np.testing.assert_allclose(features.means[place], mean, rtol=1e-9)


def test_a_catalogue_without_features_has_none(world: World) -> None:
    nothing = world.spark.createDataFrame([("i001", None)], "item_id string, features array<string>")
    features = feature_vectors(nothing, world.item_vectors, MINIMUM)
    assert len(features) == 0
    rows = world.effects([3, 7], features).toPandas()
    assert rows.groupby("latent_id").size().tolist() == [2 * KEPT, 2 * KEPT]
    assert set(rows["kind"]) == {"item"}
    assert world.effects([], world.features).count() == 0


def test_items_are_those_that_a_step_moves_most(world: World, effects: pd.DataFrame) -> None:
    items = effects[effects["kind"] == "item"]
    assert set(items["latent_id"]) == set(LIVE)
    mean = world.vectors.astype(float).mean(0)
    for latent in (0, 63, 64, PLANTED, 199):
        rows = items[items["latent_id"] == latent].sort_values("effect", ascending=False)
        effect = (world.vectors.astype(float) - mean) @ world.directions[latent].numpy().astype(float)
        falling = np.argsort(-effect)
        assert rows["item_id"].tolist() == [f"i{n:03d}" for n in [*falling[:KEPT], *falling[-KEPT:]]]
        assert rows["rank"].tolist() == [*range(1, KEPT + 1), *range(-KEPT, 0)]
        assert rows["effect"].tolist() == pytest.approx(np.sort(effect)[::-1][[*range(KEPT), *range(-KEPT, 0)]])
    assert items[["feature", "output_score", "p_value", "q_value", "items"]].isna().all(axis=None)


def test_features_of_both_ends_are_kept_with_their_ranks(world: World, effects: pd.DataFrame) -> None:
    carriers, keys = world.carriers(), [*zip(world.features.kinds, world.features.names, strict=True)]
    gaps = np.array(
        [
            world.vectors[sorted(carriers[key])].astype(float).mean(0)
            - world.vectors[sorted(set(range(ITEMS)) - carriers[key])].astype(float).mean(0)
            for key in keys
        ]
    )
    directions = world.directions.numpy()[LIVE].astype(float)
    effect = directions @ gaps.T
    score = effect / (world.vectors.astype(float) @ directions.T).std(0)[:, None]
    expected = {}
    for column, (kind, name) in enumerate(keys):
        own = [c for c, key in enumerate(keys) if key[0] == kind]
        for row, latent in enumerate(LIVE):
            above, below = (score[row, own] > score[row, column]).sum(), (score[row, own] < score[row, column]).sum()
            first = (score[:, column] > score[row, column]).sum(), (score[:, column] < score[row, column]).sum()
            if min(above, below, *first) < KEPT:
                rank = above + 1 if above <= below else -(below + 1)
                expected[latent, kind, name] = (
                    rank,
                    effect[row, column],
                    score[row, column],
                    len(carriers[kind, name]),
                )
    found = effects[effects["kind"] != "item"]
    columns = ["rank", "effect", "output_score", "items"]
    rows = {
        (latent, kind, name): tuple(values)
        for latent, kind, name, values in zip(
            found["latent_id"], found["kind"], found["feature"], found[columns].to_numpy().tolist(), strict=True
        )
    }
    assert rows.keys() == expected.keys()
    assert len(rows) == len(found) < len(LIVE) * len(keys) / 2
    assert (found["rank"].abs() > KEPT).any()  # of the latents at either end of a feature
    for key, values in expected.items():
        assert rows[key] == pytest.approx(values, rel=1e-6), key
    assert not effects.duplicated(["latent_id", "kind", "rank"]).any()


def test_the_latent_that_points_at_a_feature_is_of_it(world: World, effects: pd.DataFrame) -> None:
    of_war = effects[effects["feature"] == WAR].sort_values("output_score", ascending=False)
    assert of_war["latent_id"].iloc[0] == PLANTED
    assert of_war["q_value"].iloc[0] < 0.05
    rows = world.spark.createDataFrame(
        effects.drop(columns="items"),
        ", ".join(
            (
                "latent_id int, kind string, item_id string, feature string, effect double, output_score double",
                "p_value double, q_value double, rank int",
            ),
        ),
    )
    found = {row["latent_id"]: row for row in output_features(rows, 0.05).collect()}
    assert found[PLANTED]["output_feature"] == WAR
    assert len(found) < len(LIVE) / 2  # the other latents are drawn at random


def test_rows_have_the_columns_of_the_table_and_are_the_same_again(world: World, effects: pd.DataFrame) -> None:
    again = world.effects(LIVE[::-1], world.features)
    missing = discrepancies(LATENT_EFFECTS.schema, again.schema)
    assert missing == [f"column {name} is missing" for name in ("dt", "sae_version")]
    key = ["latent_id", "kind", "rank"]
    pd.testing.assert_frame_equal(
        *(rows.sort_values(key, ignore_index=True) for rows in (again.toPandas(), effects)), check_exact=True
    )
