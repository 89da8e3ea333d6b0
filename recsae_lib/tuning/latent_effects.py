"""What each latent does to the output: Spark hands blocks of features and of latents to tasks, which map the items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.platform.spark.shipping import ShippedFolder, ship_folder
from recsae_lib.recommenders.worker import worker_item_ids
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.feature_vectors import FeatureVectors
from recsae_lib.tuning.item_vectors import ItemVectors, ShippedVectors, worker_vectors
from recsae_lib.tuning.output_scores import ItemMoments, contrasts, null_deviations, output_scores
from recsae_lib.tuning.pushed_items import pushed_items
from recsae_lib.tuning.significance import LARGEST, RANDOM_FEATURES, Tally, count_steps, random_deviates

KEPT = 20  # features of each end that are kept of a latent, and latents of each end that are kept of a feature
BLOCK_LATENTS = 64  # of one task; their products with a part of the catalogue stay in cache
BLOCK_FEATURES, BLOCK_PAIRS = 128, 2**22  # of one task: features, and pairs of them and live latents, 32 MiB of scores
EFFECT_COLUMNS = (
    "latent_id int, kind string, item_id string, feature string, effect double, output_score double, p_value double, "
    "q_value double, items bigint, rank int"
)
_NAMES = [column.split()[0] for column in EFFECT_COLUMNS.split(", ")]


@dataclass(frozen=True)
class Scored:
    """What output scores are computed from, the same for all blocks.

    Parameters
    ----------
    latents : (L,) int32 live latents, rising.
    features : of the catalogue.
    moments : of the item vectors.
    """

    latents: np.ndarray
    features: FeatureVectors
    moments: ItemMoments

    def scores(self, directions: np.ndarray, some: slice = slice(None)) -> np.ndarray:
        """Output scores of (rows, d) directions for some features, (rows, F)."""
        features = self.features
        return output_scores(directions, self.moments, features.means[some], features.counts[some])

    def deviations(self, some: slice = slice(None)) -> np.ndarray:
        """Standard deviation of the scores of some features where they are dealt out at random, (F,)."""
        return null_deviations(self.features.counts[some], self.moments.count)


@dataclass(frozen=True)
class Standing:
    """How the live latents stand to each feature.

    Parameters
    ----------
    ends : (F, k) places among the live latents: those of highest and of lowest score.
    tally : of all scores, and of those of random features.
    """

    ends: np.ndarray
    tally: Tally


def latent_effects(live: DataFrame, sae: Path, vectors: ItemVectors, features: FeatureVectors) -> DataFrame:
    """Compute what a step along each live latent does to items, and to items with a feature.

    No matrix of latents × items or latents × features leaves a task, or is held by one.

    Parameters
    ----------
    live : (latent_id), once each.
    sae : folder of `sae.store`.
    features : see `feature_vectors`.

    Returns
    -------
    DataFrame : `EFFECT_COLUMNS`; of each latent the items pushed up and down most (`pushed_items`), and of each kind of
        feature the `KEPT` of highest and of lowest score; of each feature also the `KEPT` latents of either end. Rank
        counts from the nearer end: 1 is pushed up most, −1 down most.
    """
    spark = live.sparkSession
    latents = np.array(sorted(row["latent_id"] for row in live.collect()), dtype=np.int32)  # at most M
    shipped, decoder, model = vectors.ship(spark), ship_folder(spark, sae), ship_folder(spark, vectors.model)
    scored = Scored(latents, features, ItemMoments.of(vectors.read()))
    standing = _standing(spark, decoder, shipped, scored)

    def compute(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for block in _numbers(frames):
            places = np.arange(block * BLOCK_LATENTS, min((block + 1) * BLOCK_LATENTS, len(latents)))
            directions = _directions(decoder)[latents[places]]
            pushed = pushed_items(directions, worker_vectors(shipped), scored.moments.mean)
            rows, width = pushed.items.shape
            yield pd.DataFrame(
                {
                    "latent_id": np.repeat(latents[places], width),
                    "kind": "item",
                    "item_id": worker_item_ids(model).take(pushed.items.ravel()).to_pandas(),
                    **dict.fromkeys(("feature", "output_score", "p_value", "q_value", "items")),
                    "effect": pushed.effects.ravel(),
                    "rank": np.tile(pushed.ranks, rows),
                }
            )[_NAMES]
            yield feature_rows(scored, standing, places, directions)

    blocks = -(-len(latents) // BLOCK_LATENTS)
    return spark.range(0, blocks, 1, max(blocks, 1)).mapInPandas(compute, EFFECT_COLUMNS)


def feature_rows(scored: Scored, standing: Standing, places: np.ndarray, directions: np.ndarray) -> pd.DataFrame:
    """Rows of `EFFECT_COLUMNS` of a block of latents and the features that are kept of each.

    Parameters
    ----------
    places : (rows,) of the latents among the live ones, one after the other.
    directions : (rows, d) their rows of W_dec.
    """
    features, kinds = scored.features, np.array(scored.features.kinds, dtype=object)
    scores = scored.scores(directions)
    ranks = np.zeros(scores.shape, dtype=np.int32)
    for kind in set(scored.features.kinds):
        ranks[:, kinds == kind] = ranks_of(scores[:, kinds == kind])
    kept = (ranks >= -KEPT) & (ranks <= KEPT)
    feature, end = np.nonzero((standing.ends >= places[0]) & (standing.ends <= places[-1]))
    kept[standing.ends[feature, end] - places[0], feature] = True
    row, column = np.nonzero(kept)
    deviates = scores[row, column] / scored.deviations()[column]
    effects = directions @ contrasts(scored.moments, features.means, features.counts).T
    return pd.DataFrame(
        {
            "latent_id": scored.latents[places][row],
            "kind": kinds[column],
            "item_id": None,
            "feature": np.array(features.names, dtype=object)[column],
            "effect": effects[row, column],
            "output_score": scores[row, column],
            "p_value": standing.tally.p_values(deviates),
            "q_value": standing.tally.q_values(deviates),
            "items": features.counts[column],
            "rank": ranks[row, column],
        }
    )


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """Rank each row from its nearer end: 1 is the highest, −1 the lowest; equal scores by column."""
    count = scores.shape[1]
    place = np.empty(scores.shape, dtype=np.int32)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.put_along_axis(place, order, np.arange(1, count + 1, dtype=np.int32)[None, :], axis=1)
    from_below = place - (count + 1)
    return np.where(place <= -from_below, place, from_below)


def _standing(spark: SparkSession, decoder: ShippedFolder, vectors: ShippedVectors, scored: Scored) -> Standing:
    """Find the latents of both ends of each feature, and count all scores; a block of features a task."""
    latents, features = scored.latents, len(scored.features)
    width, kept = max(min(BLOCK_FEATURES, BLOCK_PAIRS // max(len(latents), 1)), 1), min(2 * KEPT, len(latents))
    rounds = -(-RANDOM_FEATURES // max(features, 1))

    def look(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for block in _numbers(frames):
            some, directions = slice(block * width, (block + 1) * width), _directions(decoder)[latents]
            scores = scored.scores(directions, some)
            rising = np.argsort(scores, axis=0, kind="stable")
            lowest = kept // 2
            ends = np.concatenate([rising[:lowest], rising[len(rising) - (kept - lowest) :]]).T
            real = count_steps(scores / scored.deviations(some))
            dealt = directions, scored.moments, worker_vectors(vectors), scored.features.counts[some]
            random = np.zeros_like(real)
            for number in range(rounds):
                random += count_steps(random_deviates(*dealt, seed=(block, number)))
            steps = np.flatnonzero(real + random)
            columns = {"block": block, "ends": ends.ravel(), "steps": steps, "real": real[steps]}
            yield pd.DataFrame({name: [value] for name, value in {**columns, "random": random[steps]}.items()})

    blocks = -(-features // width) if len(latents) else 0
    columns = "block bigint, ends array<int>, steps array<int>, real array<bigint>, random array<bigint>"
    found: pd.DataFrame = spark.range(0, blocks, 1, max(blocks, 1)).mapInPandas(look, columns).toPandas()
    tally = Tally(*(np.zeros(LARGEST + 1, dtype=np.int64) for _ in range(2)))
    for row in found.itertuples():
        tally.real[row.steps] += row.real
        tally.random[row.steps] += row.random
    ends = [row.ends.reshape(-1, kept) for row in found.sort_values("block").itertuples()]
    return Standing(np.concatenate([np.zeros((0, kept), dtype=np.int32), *ends]), tally)


def _numbers(frames: Iterable[pd.DataFrame]) -> Iterator[int]:
    for frame in frames:
        yield from frame["id"].tolist()


@lru_cache(maxsize=1)
def _directions(sae: ShippedFolder) -> np.ndarray:
    """Load W_dec, (M, d) float64, once a worker process."""
    directions: np.ndarray = load_sae(Path(sae)).W_dec.detach().numpy().astype(np.float64)
    return directions
