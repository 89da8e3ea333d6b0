"""Which SAE of a sweep is taken: by planted concepts, and by nothing that users of the verify half do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.sae.training.sweep import Contender
from recsae_lib.verification.choice import Found, choose, judge_contenders
from tests.toy_world import FEATURES, UNITS, ToyWorld

FEW, SOME, MANY = (Found(live, live, confirmed, 0.5) for live, confirmed in ((9, 2), (9, 5), (40, 9)))


def contender(version: int, kept: float | None, latents: int = 64) -> Contender:
    return Contender(version, Path(), kept, latents)


@pytest.mark.parametrize(
    ("contenders", "found", "taken"),
    [
        ([contender(1, 0.95), contender(2, 0.91), contender(3, 0.99)], [FEW, MANY, SOME], 1),
        ([contender(1, 0.95), contender(2, 0.89), contender(3, 0.90)], [FEW, MANY, SOME], 2),
        ([contender(1, 0.95), contender(2, 0.95)], [Found(9, 6, 5, 0.5), Found(9, 7, 5, 0.5)], 1),
        ([contender(1, 0.95, 128), contender(2, 0.95)], [SOME, SOME], 1),  # the smaller one
        ([contender(1, 0.95), contender(2, 0.95)], [SOME, SOME], 0),
        ([contender(1, 0.80), contender(2, 0.85), contender(3, 0.7)], [FEW, SOME, MANY], 1),  # none keeps enough
        ([contender(1, None), contender(2, None)], [FEW, SOME], 1),  # nobody is held out
    ],
)
def test_of_the_faithful_the_one_of_most_concepts_is_taken(
    contenders: list[Contender], found: list[Found], taken: int
) -> None:
    assert choose(contenders, found, 0.9) == taken


@pytest.mark.integration
def test_users_of_the_construct_half_alone_decide(spark: SparkSession, tmp_path: Path) -> None:
    world = ToyWorld(spark, tmp_path)
    random = np.random.default_rng(5).normal(size=(2, UNITS, UNITS))
    of_nobody = [world.save_dictionary(name, rows, bias=0.0) for name, rows in zip("ab", random, strict=True)]
    pairs = {"found": (world.folder / "sae", world.folder / "replica"), "drawn": tuple(of_nobody)}
    contenders = []
    for version, (name, (folder, replica)) in enumerate(pairs.items(), start=3):
        shutil.copytree(folder, tmp_path / name)
        shutil.copytree(replica, tmp_path / name / "dictionaries" / "sae-1")
        contenders.append(Contender(version, tmp_path / name, 1.0, UNITS))
    construct = in_construct_half(F.col("user_id"), world.settings.evidence.salt)
    of_construct = world.around.representations.where(construct)
    nonsense = world.permuted().representations.where(~construct)  # with it half of the cases would be judged wrong
    around = replace(world.around, representations=of_construct.unionByName(nonsense))

    planted, drawn = judge_contenders(contenders, around, world.settings)
    assert (planted.live, drawn.live) == (UNITS, UNITS)
    assert planted.confirmed >= 0.9 * len(FEATURES)
    assert planted.interpretable > planted.confirmed  # one changes no list
    assert planted.coverage == pytest.approx(planted.confirmed / len(FEATURES), abs=0.1)
    assert drawn.confirmed <= 1
    assert drawn.coverage is not None
    assert drawn.coverage < 0.2
