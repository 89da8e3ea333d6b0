"""What a recommender leaves in MLflow; versions and metrics of real trainings are in test_train_recommender.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recsae_lib.config import Settings
from recsae_lib.platform.tracking import recommender_runs
from recsae_lib.platform.tracking.recommender_runs import log_epochs, measure_model, outcome_line, run_parameters
from recsae_lib.recommenders.fit import EpochReport

FAMILY = {"kind": "bpr_mf", "dimension": 8, "bpr_mf": {"l2": 0.5}}
MODULE = {"kind": "module", "module": {"factory": "my.ranker:build", "item_embeddings": "items"}}
EXTERNAL = {"kind": "external", "external": {"representations": "x", "item_embeddings": "e"}}


class FakeRun:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []

    def log_metrics(self, metrics: dict[str, float], step: int = 0) -> None:
        self.logged.append((metrics, step))


def parameters(recommender: dict[str, Any]) -> dict[str, object]:
    return run_parameters(Settings.model_validate({"recommender": recommender}).recommender, seed=9, dimension=8)


def test_only_what_is_trained_has_a_seed() -> None:
    assert parameters(FAMILY).items() >= {"kind": "bpr_mf", "dimension": 8, "seed": 9, "l2": 0.5}.items()
    module = parameters(MODULE)
    assert module.items() >= {"kind": "module", "dimension": 8, "factory": "my.ranker:build"}.items()
    assert "seed" not in module
    names = {"representations": "x", "item_embeddings": "e", "recommendations": None}
    assert parameters(EXTERNAL) == {"kind": "external", **names}


def test_epochs_are_logged_by_the_cutoff_that_selects_them() -> None:
    run: Any = FakeRun()
    log_epochs(run, 5)(EpochReport("training", 2, 0.5, 0.25, 1.0))
    assert run.logged == [({"loss": 0.5, "dev_ndcg@5": 0.25}, 2)]


@pytest.mark.parametrize(("popularity", "warned"), [(0.4, False), (0.5, True)])
def test_a_model_is_measured_on_its_test_users(
    popularity: float, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []
    metrics = {"test_ndcg@10": 0.5, "popularity_ndcg@10": popularity}

    def measure_test(*arguments: Any) -> dict[str, float]:
        asked.append(arguments)
        return metrics

    monkeypatch.setattr(recommender_runs, "measure_test", measure_test)
    settings = Settings.model_validate({"device": "cpu", "seed": 9, "recommender": {"evaluation_users": 3}})
    histories: Any = SimpleNamespace(held_out_users=lambda *drawn: np.array(drawn[1:]))
    context: Any = SimpleNamespace(settings=settings)
    run, model, known = FakeRun(), torch.nn.Linear(1, 1), np.array([True])
    measured_as = {**metrics, "test_tied_share": 0.25}
    assert measure_model(context, run, model, histories, 0.25, known) == measured_as  # type: ignore[arg-type]
    assert run.logged == [(measured_as, 0)]
    ((measured, of_histories, users, device, of_known),) = asked
    assert (measured, of_histories, users.tolist(), device) == (model, histories, [3, 9], torch.device("cpu"))
    assert of_known is known
    assert ("no better than popularity" in caplog.text) == warned


def test_the_log_says_what_was_registered() -> None:
    model: Any = SimpleNamespace(item_count=1200, dimension=64)
    metrics = {"test_ndcg@10": 0.25, "popularity_ndcg@10": 0.125, "item_knn_ndcg@10": 0.0625, "test_hr@5": 1.0}
    metrics["test_tied_share"] = 0.44
    assert outcome_line(model, metrics) == (
        "1,200 items, 64 values each, test NDCG@10 0.2500, by popularity 0.1250, by item-kNN 0.0625; "
        "44% of the test items hang on a tie of time"
    )
    repeats = outcome_line(model, {**metrics, "test_repeated_target_share": 0.5})
    assert repeats.endswith("44% of the test items hang on a tie of time, 50% had been seen and count as missed")
    assert outcome_line(model, {}) == "1,200 items, 64 values each"
    model.dimension = 0
    assert outcome_line(model, {}) == "1,200 items, no vectors"
