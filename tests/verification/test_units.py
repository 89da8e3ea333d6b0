"""Units of each kind from one SAE: whose labels, activations and scores they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_lib.config import Settings
from recsae_lib.platform.warehouse.tables import CONCEPT_COVERAGE, JUDGED_UNITS, UnitKind
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.verification import units as module
from recsae_lib.verification.units import Units, unit_coverage, units_of_each_kind

X = np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32)


def test_units_of_each_kind(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sae = SparseAutoencoder.initialise(torch.from_numpy(X), 12, 2, seed=1)
    save_sae(sae, tmp_path, {})
    x = spark.createDataFrame(
        [(f"u{row}", values.tolist()) for row, values in enumerate(X)], "user_id string, representation array<float>"
    )
    terms = spark.createDataFrame([(1, "war"), (2, "space")], "latent_id int, term string")
    shuffled = spark.createDataFrame([(1, 2), (2, 1)], "latent_id int, label_of int")
    nothing = spark.createDataFrame([], "latent_id int")
    latents = Units(UnitKind.SAE, nothing, nothing, terms, nothing)

    def judge_baseline(kind: UnitKind, activations, linked, items, settings) -> Units:
        return Units(kind, activations, nothing, nothing, nothing)

    monkeypatch.setattr(module, "judge_baseline", judge_baseline)
    makers = units_of_each_kind(latents, shuffled, tmp_path, x, nothing, nothing, Settings())
    of_sae, of_shuffled, of_untrained, of_dimensions = (units_of() for units_of in makers)
    assert tuple(units.kind for units in (of_sae, of_shuffled, of_untrained, of_dimensions)) == JUDGED_UNITS
    assert of_sae is latents
    assert sorted(map(tuple, of_shuffled.concept_terms.collect())) == [(1, "space"), (2, "war")]
    assert of_shuffled.scores is shuffled

    activations, latent_ids = (values.numpy() for values in sae.encode(torch.from_numpy(X)))
    encoded = {row["user_id"]: row for row in of_untrained.activations.collect()}
    assert [encoded[f"u{row}"]["latent_ids"] for row in range(40)] == [
        ids[on].tolist() for ids, on in zip(latent_ids, activations > 0, strict=True)
    ]
    standardised = (X - X.mean(0)) / X.std(0)
    strongest = {row["user_id"]: row["latent_ids"][0] for row in of_dimensions.activations.collect()}
    for row, values in enumerate(standardised):
        dimension = int(np.argmax(np.abs(values)))
        assert strongest[f"u{row}"] == 2 * dimension + (values[dimension] < 0)


def test_coverage_says_of_which_units_it_is(spark: SparkSession) -> None:
    scores = [(0, 1.0, 0.01, 20), (1, 0.5, 0.9, 20)]
    units = Units(
        UnitKind.DIMENSION,
        spark.createDataFrame([("a", [0]), ("b", [1])], "user_id string, latent_ids array<int>"),
        spark.createDataFrame([(0, "i1")], "latent_id int, item_id string"),
        spark.createDataFrame(
            [(0, "war", "feature", True)], "latent_id int, term string, kind string, significant boolean"
        ),
        spark.createDataFrame(scores, "latent_id int, confidence double, q_value double, cases int"),
    )
    items = spark.createDataFrame([("i1", ["war"]), ("i2", ["war"])], "item_id string, features array<string>")
    settings = Settings.model_validate({"coverage": {"confidences": [0.8], "minimum_document_frequency": 1}})
    coverage = unit_coverage(units, items, settings)
    assert sorted(coverage.columns) == sorted(CONCEPT_COVERAGE.row_schema.names)
    (row,) = coverage.collect()
    assert (row["unit_kind"], row["units"]) == ("dimension", 1)
    assert [row[f"{of}_coverage"] for of in ("feature", "item", "user")] == [1.0, 0.5, 0.5]
