"""Tunings resolved and measured by Spark: each by one task, which holds the recommender and the held-out users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyspark.sql import DataFrame, Row, SparkSession

from recsae_lib.config import Settings, TuningSettings
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.worker import worker_recommender
from recsae_lib.tuning.calibration import Mix, ResolvedMix
from recsae_lib.tuning.effects import Effect, MeasuredTuning, measure_tuning
from recsae_lib.tuning.moves import Move, ResolvedTuning
from recsae_lib.tuning.places import Places, read_world

MIX = "mix"  # in place of a mode
EFFECT_FIELDS = tuple(field.name for field in fields(Effect))
_TEXTS = ("method", "comparison", "metric")
_TYPED = ", ".join(f"{name}: {'string' if name in _TEXTS else 'double'}" for name in EFFECT_FIELDS)
EFFECT_COLUMNS = f"tuning: string, {_TYPED}"
MEASURED_COLUMNS = (
    "tuning string, mode string, latents array<bigint>, weights array<double>, places array<bigint>, strength double, "
    f"subject string, overlap double, users bigint, effects array<struct<{_TYPED}>>"
)


def measure_tunings(
    spark: SparkSession, tunings: Sequence[TuningSettings], places: Places, settings: Settings
) -> list[MeasuredTuning]:
    """Resolve and measure tunings, each in a task of its own; a few hundred figures a tuning come to the driver.

    Raises
    ------
    InputError : a tuning names something unknown, or moves nobody.
    """
    rows = local_frame(spark, [(one.name, one.model_dump_json()) for one in tunings], "tuning string, settings string")
    measure = _measurer(spark, places, settings)
    each = rows.repartition(len(tunings), "tuning").groupBy("tuning").applyInPandas(measure, MEASURED_COLUMNS)
    found = {row["tuning"]: _measured(row) for row in each.collect()}
    return [found[one.name] for one in tunings]


def effect_rows(spark: SparkSession, measured: Sequence[MeasuredTuning]) -> DataFrame:
    """Rows of tuning_effects; a figure that cannot be measured is null."""
    rows = [(one.resolved.name, *_values(effect)) for one in measured for effect in one.effects]
    return local_frame(spark, rows, EFFECT_COLUMNS)


def _measurer(spark: SparkSession, places: Places, settings: Settings) -> Any:
    shipped = ship_folder(spark, places.recommender)
    sae = ship_folder(spark, places.sae)
    compared = {kind: ship_folder(spark, folder) for kind, folder in places.compared().items()}

    def measure(rows: pd.DataFrame) -> pd.DataFrame:
        torch.set_num_threads(1)  # Spark runs one task a core already
        tuning = TuningSettings.model_validate_json(rows["settings"].iloc[0])
        local = replace(places, recommender=Path(shipped), sae=Path(sae))
        folders = {kind: Path(folder) for kind, folder in compared.items()}
        world = read_world(local, folders, worker_recommender(shipped, places.factory), settings)
        return pd.DataFrame([_row(measure_tuning(tuning, world))])

    return measure


def _row(measured: MeasuredTuning) -> dict[str, Any]:
    return {
        "tuning": measured.resolved.name,
        **_carried_out(measured.resolved),
        "strength": measured.resolved.strength,
        "subject": measured.subject,
        "overlap": measured.overlap,
        "users": measured.users,
        "effects": [dict(zip(EFFECT_FIELDS, _values(effect), strict=True)) for effect in measured.effects],
    }


def _carried_out(resolved: ResolvedTuning | ResolvedMix) -> dict[str, Any]:
    if isinstance(resolved, ResolvedTuning):
        move = resolved.move
        return {"mode": move.mode, "latents": move.latents.tolist(), "weights": move.weights.tolist(), "places": []}
    shares = [] if resolved.mix.shares is None else resolved.mix.shares.tolist()
    latents, places = resolved.latents.tolist(), resolved.mix.places.tolist()
    return {"mode": MIX, "latents": latents, "weights": shares, "places": places}


def _values(effect: Effect) -> tuple[Any, ...]:
    return tuple(getattr(effect, name) for name in EFFECT_FIELDS)


def _measured(row: Row) -> MeasuredTuning:
    latents, weights = np.array(row["latents"], dtype=np.int64), np.array(row["weights"], dtype=np.float64)
    resolved: ResolvedTuning | ResolvedMix
    if row["mode"] == MIX:
        mix = Mix(np.array(row["places"], dtype=np.int64), weights if len(weights) else None)
        resolved = ResolvedMix(row["tuning"], mix, latents, row["strength"])
    else:
        resolved = ResolvedTuning(row["tuning"], Move(row["mode"], latents, weights), row["strength"])
    effects = [Effect(**effect.asDict()) for effect in row["effects"]]
    return MeasuredTuning(resolved, row["subject"], row["overlap"], row["users"], effects)
