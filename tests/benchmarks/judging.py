"""Judging at scale: one SAE as verify_concepts does, and all that stands beside it as measure_coverage does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch.nn import functional

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.levels import live_latents
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import Settings
from recsae_lib.platform.spark.session import open_session
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.sae.baselines import compared_with, user_directions
from recsae_lib.sae.dictionaries import dictionaries_of, first_replica, write_dictionaries
from recsae_lib.sae.encoding import ENCODED_COLUMNS, encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.verification.comparison import Audited, compare_dictionaries, coverage_of_kinds
from recsae_lib.verification.judging import JudgedDictionary, ScoringModel
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.units import judge_baselines
from recsae_lib.verification.verdicts import judge, own_scores, scores_by_shuffled
from tests.benchmarks.harness import Figure, Usage

FEATURES, DIMENSION, K, LINKED, LIKED = 200, 64, 8, 20, 3
SAMPLE_ROWS, PART_USERS = 32_768, 100_000
CONDITIONS = (
    f"d={DIMENSION}, k={K}, {FEATURES} features of which a user likes {LIKED}, {LINKED} linked items a user; 14 "
    "dictionaries beside the SAE, as train_sae stores them with one replica; local[2] as in conf/spark/local.conf"
)


@dataclass(frozen=True)
class Size:
    """How many of each there are."""

    name: str
    users: int
    items: int
    latents: int


SIZES = (Size("100k x 512", 100_000, 20_000, 512), Size("1M x 4,096", 1_000_000, 100_000, 4096))


def measure(work: Path) -> list[Figure]:
    settings, figures = Settings(), []
    spark = open_session(
        "bench", Path("conf/spark/local.conf"), {"spark.sql.catalog.recsae.warehouse": str(work / "warehouse")}
    )
    for size in SIZES:
        folder = work / size.name.replace(" ", "")
        write_world(folder, size)
        write_named(spark, folder, settings)
        one, usage_of_one = measured(partial(judge_sae, spark, folder, settings))
        beside, usage_of_all = measured(partial(judge_all, spark, folder, settings))
        figures += [
            Figure(f"the SAE {size.name}", one, "s"),
            Figure(f"all beside it {size.name}", beside, "s", "the SAE", beside / one),
            Figure(f"the SAE {size.name}, peak memory", usage_of_one.gib, "GiB"),
            Figure(f"all beside it {size.name}, peak memory", usage_of_all.gib, "GiB"),
        ]
    spark.stop()
    return figures


def measured(work: Callable[[], None]) -> tuple[float, Usage]:
    """Seconds of a piece of work, and what it used."""
    started = time.perf_counter()
    with Usage() as usage:
        work()
    return time.perf_counter() - started, usage


def judge_sae(spark: SparkSession, folder: Path, settings: Settings) -> None:
    """What verify_concepts does: the verdicts on the SAE, by its own labels and by shuffled ones, are written."""
    activations, latent_items, terms = (read(spark, folder, name) for name in ("activations", "latent_items", "terms"))
    audited, live = audited_of(folder), live_latents(activations)
    verdicts = judge([audited], live, terms, latent_items, around(spark, folder), audited, settings, shuffle=True)
    for name, rows in (
        ("cases", verdicts.cases()),
        ("scores", own_scores(verdicts, settings)),
        ("shuffled_scores", scores_by_shuffled(verdicts, settings)),
    ):
        rows.write.mode("overwrite").parquet(str(folder / name))
    verdicts.release()


def judge_all(spark: SparkSession, folder: Path, settings: Settings) -> None:
    """What measure_coverage does: all dictionaries beside the SAE are named and judged, and compared with it."""
    surroundings = around(spark, folder)
    names = ("activations", "latent_items", "terms", "scores", "shuffled_scores")
    audited = Audited(*(read(spark, folder, name) for name in names))
    baselines = judge_baselines(dictionaries_of(folder / "sae"), audited_of(folder), surroundings, settings)
    coverage = coverage_of_kinds(audited, baselines, surroundings.items, settings)
    compare_dictionaries(audited, baselines, {}, surroundings, read(spark, folder, "embeddings"), settings)
    coverage.write.mode("overwrite").parquet(str(folder / "coverage"))
    baselines.release()


def audited_of(folder: Path) -> JudgedDictionary:
    return JudgedDictionary(0, folder / "sae", first_replica(folder / "sae"))


def around(spark: SparkSession, folder: Path) -> Surroundings:
    names = ("representations", "linked", "items", "interactions")
    representations, linked, items, interactions = (read(spark, folder, name) for name in names)
    model = ScoringModel(folder / "recommender", None)
    return Surroundings(representations, linked, items, interactions, model)


def read(spark: SparkSession, folder: Path, name: str) -> DataFrame:
    return spark.read.parquet(str(folder / name))


def write_named(spark: SparkSession, folder: Path, settings: Settings) -> None:
    """Write what the jobs before verify_concepts leave: activations, evidence and terms of the SAE."""
    if (folder / "terms" / "_SUCCESS").exists():
        return
    encode = encode_batches(ship_folder(spark, folder / "sae"))
    encoded = read(spark, folder, "representations").mapInArrow(encode, ENCODED_COLUMNS)
    encoded.write.mode("overwrite").parquet(str(folder / "activations"))
    construct = read(spark, folder, "activations").where(in_construct_half(F.col("user_id"), settings.evidence.salt))
    linked = link_latents_to_items(construct, read(spark, folder, "linked"), settings.evidence.items_per_latent)
    linked.write.mode("overwrite").parquet(str(folder / "latent_items"))
    terms = concept_terms(read(spark, folder, "latent_items"), read(spark, folder, "items"), settings.terms)
    terms.write.mode("overwrite").parquet(str(folder / "terms"))


def write_world(folder: Path, size: Size) -> None:
    """Write users who like features, items that have one each, a recommender that knows both, and dictionaries."""
    if (folder / "finished").exists():
        return
    random = np.random.default_rng(2026)
    directions = random.normal(size=(FEATURES, DIMENSION)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    feature = np.arange(size.items) % FEATURES
    noise = random.normal(0, 0.1, (size.items, DIMENSION))
    vectors = (directions[feature] * random.uniform(0.5, 1.5, (size.items, 1)) + noise).astype(np.float32)
    names = pa.array([f"item-{n:06d}" for n in range(size.items)])
    titles = [f"word{n % 977} word{n % 1999}" for n in range(size.items)]
    tables = {
        "items": {
            "item_id": names,
            "title": titles,
            "text": titles,
            "features": pa.array([[f"feature {n}"] for n in feature]),
        },
        "embeddings": {"item_id": names, "embedding": lists(vectors)},
    }
    for name, columns in tables.items():
        write(folder / name, 0, columns)
    rows = []
    for part in range(-(-size.users // PART_USERS)):
        count = min(PART_USERS, size.users - part * PART_USERS)
        liked = np.sort(random.integers(0, FEATURES, (count, LIKED)), axis=1)
        weight = random.uniform(1, 3, (count, LIKED, 1)).astype(np.float32)
        x = (directions[liked] * weight).sum(1) + random.normal(0, 0.1, (count, DIMENSION)).astype(np.float32)
        users = pa.array([f"user-{part:03d}-{n:06d}" for n in range(count)])
        taken = liked[np.arange(count)[:, None], random.integers(0, LIKED, (count, 2 * LINKED))]
        item = taken + FEATURES * random.integers(0, size.items // FEATURES, taken.shape)
        write(folder / "representations", part, {"user_id": users, "representation": lists(x.astype(np.float32))})
        write(folder / "linked", part, {"user_id": users, "item_ids": lists(item[:, :LINKED], names)})
        seen = {"user_id": users.take(pa.array(np.repeat(np.arange(count), LINKED)))}
        write(folder / "interactions", part, {**seen, "item_id": names.take(pa.array(item[:, LINKED:].ravel()))})
        rows.append(x[: SAMPLE_ROWS // 8].astype(np.float32))
    write_models(folder, vectors, names, torch.from_numpy(np.concatenate(rows)[:SAMPLE_ROWS]), size.latents)
    (folder / "finished").touch()


def write_models(folder: Path, vectors: np.ndarray, names: pa.Array, rows: torch.Tensor, latents: int) -> None:
    """Write the recommender, the SAE, whose latents point at users, and what stands beside it."""
    model = BprMf(1, len(vectors), vectors.shape[1])
    with torch.no_grad():
        model.items.weight.copy_(torch.from_numpy(vectors))
    (folder / "recommender").mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder / "recommender", "item", [names])
    write_vocabulary(folder / "recommender", "user", [pa.array(["user"])])
    save_recommender(model, Split(), folder / "recommender")
    drawn = [user_directions(rows, latents, seed) for seed in (101, 102)]
    nothing = torch.zeros(latents)
    trained, replica = (SparseAutoencoder(towards, nothing, towards.clone(), rows.mean(0), K) for towards in drawn)
    save_sae(trained, folder / "sae", {})
    centre = functional.normalize(rows).mean(0, keepdim=True)
    initial = SparseAutoencoder.initialise(centre, latents, K, 1)
    write_dictionaries(folder / "sae", trained, compared_with([replica], initial, rows, 1), {}, lambda _: {})


def lists(rows: np.ndarray, values: pa.Array | None = None) -> pa.ListArray:
    """Lists of the numbers of each row, or of the values at these places."""
    flat = pa.array(rows.ravel()) if values is None else values.take(pa.array(rows.ravel()))
    return pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1], flat)


def write(folder: Path, part: int, columns: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"part-{part:03d}.parquet", row_group_size=PART_USERS // 4)
