"""Item vectors of models that score by a method: slopes, held against automatic differentiation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_lib.config import ExternalSettings, ModuleSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.tuning import item_vectors
from recsae_lib.tuning.item_vectors import ItemVectors, mean_slopes

X = torch.from_numpy(np.random.default_rng(7).standard_normal((30, 4)).astype(np.float32)) * 3 + 1
WEIGHTS = torch.from_numpy(np.random.default_rng(8).standard_normal((9, 4)).astype(np.float32))
FACTORS = {"factory": "tests.foreign_ranker:build_factors", "arguments": {"users": 12, "rows": 9, "dimension": 4}}


def curved(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ WEIGHTS.T / 4) + x.square().sum(1, keepdim=True)


@pytest.mark.parametrize("block", [2**26, 2 * 9 * 7, 1])
def test_slopes_are_the_mean_jacobian(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_vectors, "BLOCK_SCORES", block)
    rows = []

    def score(x: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return curved(x)

    slopes = mean_slopes(score, X, np.empty((4, 9), np.float32))
    jacobian = torch.autograd.functional.jacobian(lambda x: curved(x).sum(0), X.double().float())
    np.testing.assert_allclose(slopes, jacobian.mean(1).numpy(), atol=2e-3)
    assert max(rows) == {2**26: 30, 2 * 9 * 7: 7, 1: 1}[block]


def test_slopes_of_one_user_are_measured_too() -> None:
    slopes = mean_slopes(lambda x: x @ WEIGHTS.T, X[:1], np.empty((4, 9), np.float32))
    np.testing.assert_allclose(slopes, WEIGHTS.numpy(), atol=1e-3)


def test_a_module_with_a_method_has_its_slopes_as_vectors(spark: SparkSession, tmp_path: Path) -> None:
    settings = ModuleSettings(**FACTORS, scorer="module")
    model = ModuleRecommender.of(settings, 9, torch.arange(12))
    save(model, tmp_path, users=12)
    users = spark.createDataFrame([(f"u{n}", x.tolist()) for n, x in enumerate(X)], "user_id string, x array<float>")
    vectors = ItemVectors.of_model(tmp_path, settings.call, users.withColumnRenamed("x", "representation"))
    np.testing.assert_allclose(vectors.read(), model.network.output.weight.detach().numpy(), atol=1e-3)


def test_lists_without_item_vectors_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    settings = ExternalSettings(representations="x", recommendations="y")
    save(External(9, 0, settings), tmp_path)
    with pytest.raises(InputError, match="without item vectors"):
        ItemVectors.of_model(tmp_path, None, spark.createDataFrame([], "user_id string, representation array<float>"))


def save(model: ModuleRecommender | External, folder: Path, users: int = 0) -> None:
    write_vocabulary(folder, "item", [pa.array([f"i{n}" for n in range(9)])])
    if users:
        write_vocabulary(folder, "user", [pa.array([f"u{n:02d}" for n in range(users)])])
    save_recommender(model, Split(), folder)
