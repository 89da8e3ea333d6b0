"""Tunings resolved and measured by Spark: each by one task, which holds the recommender and the held-out users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import Settings, TuningSettings
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.inputs import known_items
from recsae_lib.recommenders.store import read_description
from recsae_lib.recommenders.training_counts import training_counts
from recsae_lib.recommenders.worker import worker_item_ids, worker_recommender
from recsae_lib.sae.dictionaries import dictionaries_of
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.catalogue import Catalogue
from recsae_lib.tuning.effects import Effect, MeasuredTuning, measure_tuning
from recsae_lib.tuning.held_out import read_users
from recsae_lib.tuning.methods import COMPARED
from recsae_lib.tuning.moves import Move, ResolvedTuning
from recsae_lib.tuning.world import World

DEV_USERS, TEST_USERS = 1_000, 10_000  # at most, drawn at random
CHUNK_ITEMS = 2**18  # whose popularity is one row
FACT_COLUMNS = "part string, name string, item_indices array<int>, counts array<bigint>"
EFFECT_FIELDS = tuple(field.name for field in fields(Effect))
_TEXTS = ("method", "comparison", "metric")
_TYPED = ", ".join(f"{name}: {'string' if name in _TEXTS else 'double'}" for name in EFFECT_FIELDS)
EFFECT_COLUMNS = f"tuning: string, {_TYPED}"
MEASURED_COLUMNS = (
    "tuning string, mode string, latents array<bigint>, weights array<double>, strength double, subject string, "
    f"overlap double, users bigint, effects array<struct<{_TYPED}>>"
)


@dataclass(frozen=True)
class Places:
    """Where a world is read from.

    Parameters
    ----------
    recommender : folder of `recommenders.store`, and the call that builds it (`load_recommender`).
    sae : folder of `sae.store`, with the dictionaries beside it.
    dev, test : folders of held-out users (`RepresentationSet`).
    """

    recommender: Path
    factory: str | None
    sae: Path
    dev: str
    test: str

    def compared(self) -> dict[UnitKind, Path]:
        """Folders of the dictionaries that tunings are compared with: the first of each kind."""
        found: dict[UnitKind, Path] = {}
        for one in dictionaries_of(self.sae):
            if one.kind in COMPARED:
                found.setdefault(one.kind, one.folder)
        return found


def measure_tunings(
    tunings: Sequence[TuningSettings], places: Places, items: DataFrame, interactions: DataFrame, settings: Settings
) -> list[MeasuredTuning]:
    """Resolve and measure tunings, each in a task of its own.

    What comes to a task of items is their features and how often each was taken, as arrays; to the driver come a few
    hundred rows a tuning.

    Parameters
    ----------
    items : (item_id, features, derived_features), the catalogue.
    interactions : (user_id, item_id, ts, source_order).

    Raises
    ------
    InputError : a tuning names something unknown, or moves nobody.
    """
    spark = items.sparkSession
    rows = local_frame(spark, [(one.name, one.model_dump_json()) for one in tunings], "tuning string, settings string")
    facts = catalogue_facts(items, interactions, places.recommender, settings)
    of_each = facts.crossJoin(F.broadcast(rows.select("tuning")))
    measure = _measurer(spark, places, settings)
    grouped = rows.groupBy("tuning").cogroup(of_each.groupBy("tuning")).applyInPandas(measure, MEASURED_COLUMNS)
    found = {row["tuning"]: _measured(row) for row in grouped.collect()}
    return [found[one.name] for one in tunings]


def catalogue_facts(items: DataFrame, interactions: DataFrame, recommender: Path, settings: Settings) -> DataFrame:
    """What a `Catalogue` is made of, `FACT_COLUMNS`: a row a feature (part ``feature`` or ``derived``) with its items;
    rows of part ``popularity`` with items and their training interactions.
    """
    known = known_items(items.sparkSession, recommender)
    carried = items.select("item_id", F.explode("features").alias("name"), F.lit("feature").alias("part"))
    if "derived_features" in items.columns:
        derived = F.explode("derived_features").alias("name")
        carried = carried.unionByName(items.select("item_id", derived, F.lit("derived").alias("part")))
    features = (
        carried.where("name IS NOT NULL")
        .join(known, "item_id")
        .groupBy("part", "name")
        .agg(F.sort_array(F.collect_set("item_index")).alias("item_indices"))
        .where(F.size("item_indices") >= settings.coverage.minimum_document_frequency)
        .withColumn("counts", F.array().cast("array<bigint>"))
    )
    counts = training_counts(interactions, read_description(recommender).split).join(known, "item_id")
    chunk = F.floor(F.col("item_index") / CHUNK_ITEMS).cast("string").alias("name")
    popularity = (
        counts.groupBy(chunk)
        .agg(F.collect_list(F.struct("item_index", "interactions")).alias("pairs"))
        .select(
            F.lit("popularity").alias("part"),
            "name",
            F.col("pairs.item_index").alias("item_indices"),
            F.col("pairs.interactions").alias("counts"),
        )
    )
    return features.unionByName(popularity).select("part", "name", "item_indices", "counts")


def catalogue_of(facts: pd.DataFrame, item_count: int) -> Catalogue:
    """Put the rows of `catalogue_facts` together."""
    popularity = np.zeros(item_count, dtype=np.int64)
    carriers: dict[tuple[str, bool], np.ndarray] = {}
    for part, name, indices, counts in facts[["part", "name", "item_indices", "counts"]].itertuples(index=False):
        if part == "popularity":
            popularity[np.asarray(indices, np.int64)] = counts
        else:
            carriers[name, part == "derived"] = np.asarray(indices, np.int64)
    return Catalogue.of_lists(popularity, carriers)


def read_world(
    places: Places,
    compared: Mapping[UnitKind, Path],
    recommender: Any,
    item_ids: np.ndarray,
    facts: pd.DataFrame,
    seed: int,
) -> World:
    """Load what tunings are measured in."""
    return World(
        recommender=recommender,
        vectors=recommender.item_embeddings().detach().cpu().numpy(),
        item_ids=item_ids,
        sae=load_sae(places.sae),
        others={kind: load_sae(folder) for kind, folder in compared.items()},
        catalogue=catalogue_of(facts, recommender.item_count),
        dev=read_users(places.dev, DEV_USERS, seed),
        test=read_users(places.test, TEST_USERS, seed),
        seed=seed,
    )


def effect_rows(spark: SparkSession, measured: Sequence[MeasuredTuning]) -> DataFrame:
    """Rows of tuning_effects; a figure that cannot be measured is null."""
    rows = [(one.resolved.name, *_values(effect)) for one in measured for effect in one.effects]
    return local_frame(spark, rows, EFFECT_COLUMNS)


def _measurer(spark: SparkSession, places: Places, settings: Settings) -> Any:
    shipped = ship_folder(spark, places.recommender)
    sae = ship_folder(spark, places.sae)
    compared = {kind: ship_folder(spark, folder) for kind, folder in places.compared().items()}
    factory, dev, test, seed = places.factory, places.dev, places.test, settings.seed

    def measure(rows: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
        torch.set_num_threads(1)  # Spark runs one task a core already
        tuning = TuningSettings.model_validate_json(rows["settings"].iloc[0])
        local = Places(Path(shipped), factory, Path(sae), dev, test)
        recommender, item_ids = worker_recommender(shipped, factory), worker_item_ids(shipped)
        folders = {kind: Path(folder) for kind, folder in compared.items()}
        world = read_world(local, folders, recommender, item_ids.to_numpy(zero_copy_only=False), facts, seed)
        return pd.DataFrame([_row(measure_tuning(tuning, world))])

    return measure


def _row(measured: MeasuredTuning) -> dict[str, Any]:
    resolved = measured.resolved
    return {
        "tuning": resolved.name,
        "mode": resolved.move.mode,
        "latents": resolved.move.latents.tolist(),
        "weights": resolved.move.weights.tolist(),
        "strength": resolved.strength,
        "subject": measured.subject,
        "overlap": measured.overlap,
        "users": measured.users,
        "effects": [dict(zip(EFFECT_FIELDS, _values(effect), strict=True)) for effect in measured.effects],
    }


def _values(effect: Effect) -> tuple[Any, ...]:
    values = (getattr(effect, name) for name in EFFECT_FIELDS)
    return tuple(None if isinstance(value, float) and not np.isfinite(value) else value for value in values)


def _measured(row: Row) -> MeasuredTuning:
    latents, weights = np.array(row["latents"], dtype=np.int64), np.array(row["weights"], dtype=np.float64)
    resolved = ResolvedTuning(row["tuning"], Move(row["mode"], latents, weights), row["strength"])
    effects = [Effect(**effect.asDict()) for effect in row["effects"]]
    return MeasuredTuning(resolved, row["subject"], row["overlap"], row["users"], effects)
