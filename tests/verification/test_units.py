"""Dictionaries beside an SAE, judged in one pass: ids, copies, replicas in a ring, and what each figure is of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.dictionaries import Dictionary
from recsae_lib.sae.encoding import encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.verification.scores import is_confirmed
from recsae_lib.verification.units import encode_dictionaries, judge_baselines
from tests.toy_world import FEATURES, IDLE, UNITS, ToyWorld

pytestmark = pytest.mark.integration


def test_codes_of_dictionaries_stand_behind_each_other(tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32)
    x[7] = 0.0  # few fire, if any
    batch = pa.RecordBatch.from_pydict(
        {"user_id": [f"u{n}" for n in range(40)], "representation": pa.array(x.tolist(), pa.list_(pa.float32()))}
    )
    folders = {}
    for number, (latents, k) in {1: (12, 2), 4: (5, 3)}.items():
        sae = SparseAutoencoder.initialise(torch.from_numpy(x), latents, k, seed=number)
        save_sae(sae, tmp_path / str(number), {})
        folders[number] = tmp_path / str(number)
    parts = [batch.slice(0, 15), batch.slice(15)]
    together = pa.Table.from_batches(list(encode_dictionaries(folders)(parts))).to_pydict()
    alone = {
        n: pa.Table.from_batches(list(encode_batches(folder)([batch]))).to_pydict() for n, folder in folders.items()
    }
    assert together["user_id"] == batch.column("user_id").to_pylist()
    for user in range(40):
        ids = [first_id(n) + unit for n, of in alone.items() for unit in of["latent_ids"][user]]
        assert together["latent_ids"][user] == ids
        assert together["activations"][user] == [z for of in alone.values() for z in of["activations"][user]]


def test_dictionaries_are_judged_side_by_side(spark: SparkSession, tmp_path: Path) -> None:
    world = ToyWorld(spark, tmp_path)
    random = np.random.default_rng(3).normal(size=(30, UNITS))
    dictionaries = [
        Dictionary(UnitKind.SAE, 1, world.folder / "replica"),
        Dictionary(UnitKind.UNTRAINED, 1, world.save_dictionary("untrained", random, bias=0.0)),
        Dictionary(UnitKind.UNTRAINED_FITTED, 1, world.save_dictionary("fitted", random, bias=0.0)),
        Dictionary(UnitKind.DIMENSION, 1, world.save_dictionary("dimension", np.eye(UNITS), bias=-0.5)),
    ]
    baselines = judge_baselines(dictionaries, world.audited, world.around, world.settings)
    scores = baselines.verdicts.scores(world.settings).assign(
        confirmed=lambda rows: is_confirmed(rows, world.settings.verification)
    )
    of = {number: scores[scores["latent_id"].to_numpy() >> 20 == number] for number in (1, 2, 3, 4)}
    assert {number: len(rows) for number, rows in of.items()} == {1: UNITS, 2: 30, 3: 30, 4: UNITS}
    found = {number: rows["confirmed"].mean() for number, rows in of.items()}
    assert found[1] >= 0.9
    assert found[4] >= 0.9  # what the SAE has found are raw dimensions here
    assert (of[1]["found_again"] > 0.9).all()  # in the audited SAE: a ring of two
    assert of[2]["found_again"].isna().all()  # no other of its kind
    assert of[4]["found_again"].tolist() == pytest.approx([1.0] * UNITS, abs=1e-6)  # in itself

    # Fitted decoders read as the untrained ones do: the same names and verdicts, under ids of their own.
    shift = first_id(3) - first_id(2)
    same = ["confidence", "auc", "hard_auc", "q_value", "cases", "best_feature"]
    assert (of[3]["latent_id"] - shift).tolist() == of[2]["latent_id"].tolist()
    assert of[3][same].astype(str).to_numpy().tolist() == of[2][same].astype(str).to_numpy().tolist()
    terms = baselines.concept_terms.select("latent_id", "term", "kind", "rank").toPandas()
    named = [
        sorted((unit - first_id(number), *rest) for unit, *rest in terms.to_numpy().tolist() if unit >> 20 == number)
        for number in (2, 3)
    ]
    assert named[0] == named[1] != []

    idle = of[4].iloc[IDLE]
    assert (idle["latent_id"], idle["interpretable"], idle["confirmed"]) == (first_id(4) + IDLE, True, False)
    assert of[4]["best_feature"].tolist()[: len(FEATURES)].count(None) <= 2
    kinds = (UnitKind.SAE, UnitKind.UNTRAINED_FITTED, UnitKind.CLUSTER)
    assert [baselines.number_of(kind) for kind in kinds] == [1, 3, None]
    assert baselines.live == {1: UNITS, 2: 30, 3: 30, 4: UNITS}
    baselines.release()

    # Of more units than are wanted some are judged: of fitted decoders the same ones, each as it was.
    few = world.settings.coverage.model_copy(update={"baseline_units": 10})
    some = judge_baselines(
        dictionaries, world.audited, world.around, world.settings.model_copy(update={"coverage": few})
    )
    drawn = some.verdicts.scores(world.settings)
    units = [{unit - first_id(n) for unit in drawn["latent_id"] if unit >> 20 == n} for n in (1, 2, 3, 4)]
    assert all(4 <= len(of_dictionary) <= 18 for of_dictionary in units)
    assert units[1] == units[2]
    judged_alone = scores.set_index("latent_id").loc[drawn["latent_id"], same[:3]]
    assert drawn.set_index("latent_id")[same[:3]].equals(judged_alone)
    assert some.live == baselines.live
    some.release()
