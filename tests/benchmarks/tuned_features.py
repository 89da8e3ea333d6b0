"""How far each method moves the share of a feature at an equal overlap, over all features and seeds of the SAE."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch

from recsae_lib.config import TuningSettings, load_settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.sae.dictionaries import dictionaries_of
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.effects import measure_tuning
from recsae_lib.tuning.findings import FEATURE
from recsae_lib.tuning.places import Places, audited_context, read_world
from tests.benchmarks.harness import Figure

MINIMUM_ITEMS, OVERLAP, FURTHER = 40, 0.7, 1.5
CONDITIONS = (
    "the audit of `make audit`, which has to be there, or that of the settings file RECSAE_CONF: every feature of "
    f"{MINIMUM_ITEMS} items or more, more of it for everybody at an overlap of {OVERLAP}, by the audited SAE and by "
    "each of its replicas (sae.replicas); change of the share of top-10 places, on test users"
)


def measure(work: Path) -> list[Figure]:
    torch.set_num_threads(1)
    settings = load_settings(Path("conf/base.yaml"), Path(os.environ.get("RECSAE_CONF", "conf/local.yaml")))
    context = audited_context(JobContext("bench", settings, date.today()), None)
    places = Places.of_context(context)
    world = read_world(places, places.compared(), load_recommender(places.recommender, places.factory), settings)
    folders = [places.sae, *(one.folder for one in dictionaries_of(places.sae) if one.kind == UnitKind.SAE)]
    counts = np.asarray(world.catalogue.carried.sum(0)).ravel()
    features = [
        name
        for name, derived, items in zip(world.catalogue.features, world.catalogue.is_derived, counts, strict=True)
        if not derived and items >= MINIMUM_ITEMS
    ]
    changes: dict[str, list[list[float]]] = {}
    for folder in folders:
        of_seed = replace(world, sae=load_sae(folder), _codes={})
        found: dict[str, list[float]] = {}
        for feature in features:
            tuning = TuningSettings(name="more", feature=feature, overlap=OVERLAP)
            for effect in measure_tuning(tuning, of_seed).effects:
                if effect.metric == FEATURE and effect.comparison == "overlap":
                    found.setdefault(effect.method, []).append(effect.value or 0.0)
        for method, values in found.items():
            changes.setdefault(method, []).append(values)
    of_method = {method: np.array(values) for method, values in changes.items() if method != "untuned"}
    own = of_method["sae"]
    figures = [Figure("features", len(features), ""), Figure("seeds of the SAE", len(folders), "")]
    for method, of_seeds in of_method.items():
        mean = float(of_seeds.mean())
        figures.append(Figure(f"change of share, {method}", mean, "", "sae", mean / float(own.mean())))
        if method != "sae":
            figures += [
                Figure(f"features on which the SAE goes further than {method}", float((own > of_seeds).mean()), ""),
                Figure(f"{FURTHER} times as far as {method}", float((own >= FURTHER * of_seeds).mean()), ""),
            ]
    return figures
