"""Units of dictionaries judged on a sample of users: Spark hands blocks of units to tasks, which hold the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse

from recsae_lib.concepts.dictionaries import PLACE_BITS, first_id
from recsae_lib.concepts.item_terms import item_terms
from recsae_lib.config import Settings
from recsae_lib.platform.spark.frames import keep
from recsae_lib.platform.spark.shipping import ShippedFolder, ship_folder
from recsae_lib.recommenders.inputs import known_items
from recsae_lib.recommenders.recommend import BLOCK_SCORES, scores_in_parts
from recsae_lib.recommenders.top_items import top_items
from recsae_lib.recommenders.worker import worker_recommender
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import load_sae
from recsae_lib.verification.blocks import BLOCK_COLUMNS, Scorer, judge_block
from recsae_lib.verification.found_again import find_again
from recsae_lib.verification.removal import LIST_LENGTH
from recsae_lib.verification.user_sample import UserSample, worker_sample

BLOCK_UNITS = 256  # judged by one task; (users, units) arrays of a sample stay within 100 MiB
BLOCKS_OF_CORE = 4  # tasks that judge, for each core
FOUND_COLUMNS = "latent_id int, found_again double, found_again_id int"


@dataclass(frozen=True)
class JudgedDictionary:
    """A dictionary under judgement.

    Parameters
    ----------
    number : its place among the ids (`concepts.dictionaries`).
    folder : of its weights.
    partner : of a dictionary made alike from another seed, in which its units are looked for; None without one.
    """

    number: int
    folder: Path
    partner: Path | None


@dataclass(frozen=True)
class ScoringModel:
    """The recommender whose lists show what removing a unit does.

    Parameters
    ----------
    folder : of `recommenders.store`.
    factory : as `load_recommender`.
    """

    folder: Path
    factory: str | None


def ship_sample(spark: SparkSession, sample: UserSample) -> ShippedFolder:
    """Bring the sample to every executor, also to one that comes later: the files stay as long as the application."""
    folder = Path(mkdtemp(prefix="sample-", dir=SparkFiles.getRootDirectory()))
    sample.save(folder)
    return ship_folder(spark, folder)


def unit_rows(live: DataFrame, named: DataFrame, of_others: DataFrame | None, neighbours: DataFrame) -> DataFrame:
    """One row a unit with all that a task needs to know of it, as `judge_block` takes it.

    Parameters
    ----------
    live : (latent_id), once each.
    named : (latent_id, term, kind, tf, lift), the terms that name the units.
    of_others : the same of another unit each; None without.
    neighbours : (latent_id, neighbour_id).
    """
    near = neighbours.groupBy("latent_id").agg(F.sort_array(F.collect_list("neighbour_id")).alias("neighbours"))
    rows = live.join(_weights_by_unit(named, ""), "latent_id", "left")
    others = named.limit(0) if of_others is None else of_others
    rows = rows.join(_weights_by_unit(others, "shuffled_"), "latent_id", "left").join(near, "latent_id", "left")
    nothing = {"terms": "bigint", "weights": "double", "is_feature": "boolean"}
    kinds = {f"{prefix}{name}": kind for prefix in ("", "shuffled_") for name, kind in nothing.items()}
    kinds["neighbours"] = "int"
    empty = {name: F.coalesce(name, F.array().cast(f"array<{kind}>")) for name, kind in kinds.items()}
    return rows.withColumns(empty)


def _weights_by_unit(named: DataFrame, prefix: str) -> DataFrame:
    # The logarithm of 0 is null in Spark: a term without evidence weighs nothing.
    weight = F.coalesce(F.col("tf") * F.log("lift"), F.lit(0.0))
    is_feature = F.col("kind") != "word"
    term = F.struct(F.xxhash64("kind", "term").alias("terms"), weight.alias("weights"), is_feature.alias("is_feature"))
    rows = named.groupBy("latent_id").agg(F.sort_array(F.collect_list(term)).alias("named"))
    parts = [F.col(f"named.{name}").alias(f"{prefix}{name}") for name in ("terms", "weights", "is_feature")]
    return rows.select("latent_id", *parts)


def judge_dictionaries(
    units: DataFrame,
    dictionaries: Sequence[JudgedDictionary],
    sample: ShippedFolder,
    items: DataFrame,
    model: ScoringModel | None,
    dose: float,
    shuffle: bool,
    settings: Settings,
) -> DataFrame:
    """Judge the units of all dictionaries, a block of units a task.

    A task holds the sample, the weights of its dictionary and, where removal is measured, the recommender. No user is
    shuffled; of items only those that carry a named term go to the tasks.

    Parameters
    ----------
    units : see `unit_rows`.
    items : (item_id, title, text, features …), the catalogue.
    model : None where the representations are not what items are scored from.
    dose : share of a user's distance from the mean by which x moves where dictionaries are compared.
    shuffle : whether the terms of other units judge as well.

    Returns
    -------
    DataFrame : `BLOCK_COLUMNS`, computed and kept until `free`.
    """
    spark = units.sparkSession
    folders = {one.number: ship_folder(spark, one.folder) for one in dictionaries}
    recommender = None if model is None else ship_folder(spark, model.folder)

    def judge(key: Any, rows: pd.DataFrame, carriers: pd.DataFrame) -> pd.DataFrame:
        if rows.empty:
            return rows.reindex(columns=[column.split()[0] for column in BLOCK_COLUMNS.split(", ")])
        rows = rows.sort_values("latent_id", ignore_index=True)
        number = int(rows["latent_id"].iloc[0]) >> PLACE_BITS
        of_users, (sae, activations) = worker_sample(Path(sample)), _codes(Path(folders[number]), Path(sample))
        scorer = None
        if model is not None and recommender is not None:
            scorer = _scorer(recommender, model, dose, of_users, carriers)
        decoder = sae.W_dec.detach().numpy()
        return judge_block(rows, activations, decoder, first_id(number), of_users, scorer, shuffle, settings)

    # A number of one's own: adaptive execution puts small partitions together, and blocks are small and expensive.
    tasks = BLOCKS_OF_CORE * spark.sparkContext.defaultParallelism
    by_block = units.withColumn("block", F.floor(F.col("latent_id") / BLOCK_UNITS)).repartition(tasks, "block")
    carriers = _carriers(by_block, items, model, settings).repartition(tasks, "block")
    return keep(by_block.groupBy("block").cogroup(carriers.groupBy("block")).applyInPandas(judge, BLOCK_COLUMNS))


def _carriers(by_block: DataFrame, items: DataFrame, model: ScoringModel | None, settings: Settings) -> DataFrame:
    """(block, term, item_indices): the items of the model that carry a term that names a unit of the block."""
    spark = by_block.sparkSession
    if model is None:
        return spark.createDataFrame([], "block bigint, term bigint, item_indices array<int>")
    wanted = by_block.select("block", F.explode("terms").alias("term")).distinct()
    carried = (
        item_terms(items, settings.terms)
        .select("item_id", F.xxhash64("kind", "term").alias("term"))
        .join(F.broadcast(wanted.select("term").distinct()), "term", "left_semi")
        .join(known_items(spark, model.folder), "item_id", "inner")
        .groupBy("term")
        .agg(F.collect_list("item_index").alias("item_indices"))
    )
    return carried.join(F.broadcast(wanted), "term", "inner").select("block", "term", "item_indices")


@lru_cache(maxsize=1)
def _codes(folder: Path, sample: Path) -> tuple[SparseAutoencoder, sparse.csr_matrix]:
    """Load a dictionary and encode the sample with it, once a worker process: (S, M) activations."""
    torch.set_num_threads(1)  # Spark runs one task a core already
    sae = load_sae(folder)
    return sae, encode_sample(sae, worker_sample(sample).representations)


def encode_sample(sae: SparseAutoencoder, x: np.ndarray) -> sparse.csr_matrix:
    """Activations of (S, d) representations as a sparse (S, M) matrix."""
    activations, latent_ids = (part.numpy() for part in sae.encode(torch.from_numpy(x)))
    row, column = np.nonzero(activations > 0)
    where = (row, latent_ids[row, column])
    return sparse.csr_matrix((activations[row, column].astype(np.float64), where), (len(x), sae.num_latents))


def _scorer(
    recommender: ShippedFolder, model: ScoringModel, dose: float, sample: UserSample, carriers: pd.DataFrame
) -> Scorer:
    loaded = worker_recommender(recommender, model.factory)
    rows = len(sample) if loaded.dot_scored else max(1, BLOCK_SCORES // loaded.item_count)

    def best_items(vectors: np.ndarray, users: np.ndarray) -> np.ndarray:
        best = np.empty((len(vectors), LIST_LENGTH), dtype=np.int64)
        for start in range(0, len(vectors), rows):
            block = users[start : start + rows]
            seen = [sample.seen_items[sample.seen_offsets[user] : sample.seen_offsets[user + 1]] for user in block]
            offsets = np.concatenate([[0], np.cumsum([len(items) for items in seen])])
            x = torch.from_numpy(np.ascontiguousarray(vectors[start : start + rows], dtype=np.float32))
            found, scores = top_items(scores_in_parts(loaded, x), offsets, np.concatenate(seen), LIST_LENGTH)
            best[start : start + rows] = np.where(scores > -np.inf, found, -1)
        return best

    x = sample.representations
    doses = dose * np.linalg.norm(x - x.mean(axis=0), axis=1)
    pairs = zip(carriers["term"], carriers["item_indices"], strict=True)
    of_term = {int(term): np.asarray(found, np.int64) for term, found in pairs}
    return Scorer(best_items, doses, of_term, loaded.item_count)


def mean_dose(folder: Path, sample: UserSample) -> float:
    """How far removing one of its units moves x, on average over all that fire, as a share of x's distance from the
    mean of the sample.

    Parameters
    ----------
    folder : of the audited SAE.
    """
    sae, x = load_sae(folder), sample.representations
    activations = encode_sample(sae, x).tocoo()
    distance = np.linalg.norm(x - x.mean(axis=0), axis=1)[activations.row]
    lengths = np.linalg.norm(sae.W_dec.detach().numpy(), axis=1)[activations.col] * activations.data
    some = distance > 0
    return float((lengths[some] / distance[some]).mean()) if some.any() else 0.0


def find_units_again(spark: SparkSession, dictionaries: Sequence[JudgedDictionary], sample: ShippedFolder) -> DataFrame:
    """Look for the units of each dictionary in its partner, on users of the verify half; a dictionary a task.

    Returns
    -------
    DataFrame : (latent_id, found_again DOUBLE, found_again_id INT), the correlation with the unit of the partner that
        each is matched with, 0 and null without one; no rows of a dictionary without a partner.
    """
    pairs = {one.number: (one.folder, one.partner) for one in dictionaries if one.partner is not None}
    folders = {number: [ship_folder(spark, folder) for folder in both] for number, both in pairs.items()}

    def look(key: Any, rows: pd.DataFrame) -> pd.DataFrame:
        torch.set_num_threads(1)  # Spark runs one task a core already
        number = int(rows["number"].iloc[0])
        of_users = worker_sample(Path(sample))
        x = of_users.representations[~of_users.construct]
        units, others = (encode_sample(load_sae(Path(folder)), x) for folder in folders[number])
        found = find_again(units, others)
        ids = np.arange(len(found.partners)) + first_id(number)
        partners = pd.array(np.where(found.partners < 0, 0, found.partners), dtype="Int32")
        partners[found.partners < 0] = pd.NA
        return pd.DataFrame({"latent_id": ids, "found_again": found.correlations, "found_again_id": partners})

    numbers = spark.createDataFrame([(number,) for number in pairs], "number int").repartition(
        len(pairs) or 1, "number"
    )
    return numbers.groupBy("number").applyInPandas(look, FOUND_COLUMNS)
