"""What the machine does while a run is under way is on the page of the run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.version_tags import METRICS_TAG
from tests.stored_models import write_stored
from tests.workspace import write_mlflow_database

PATIENCE = 30.0  # seconds


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry whose runs are measured every few milliseconds."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    write_mlflow_database(tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"), tmp_path / "models")


def measured(registry: Registry, run_id: str, patience: float = PATIENCE) -> dict[str, float]:
    """Metrics of a run, once some of the machine are among them, or after the seconds of `patience`."""
    ends = time.monotonic() + patience
    while True:
        metrics = dict(registry.client.get_run(run_id).data.metrics)
        if any(name.startswith("system/") for name in metrics) or time.monotonic() > ends:
            return metrics


def test_a_run_is_measured_and_its_version_keeps_none_of_it(registry: Registry, tmp_path: Path) -> None:
    with registry.training_run("shop", {"job": "train_recommender"}, {}) as run:
        run.log_metrics({"test_ndcg@10": 0.125})
        metrics = measured(registry, run.run_id)
        digest = write_stored(tmp_path / "stored", "weights")
        registry.register_recommender(run, "recommender-shop", tmp_path / "stored", digest, {})
    assert metrics["system/system_memory_usage_percentage"] > 0
    assert registry.tags("recommender-shop", 1)[METRICS_TAG] == '{"test_ndcg_at_10": 0.125}'
    assert registry.metrics("recommender-shop", 1) == {"test_ndcg_at_10": 0.125}


def test_the_variable_of_mlflow_switches_it_off(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with registry.training_run("shop", {"job": "train_recommender"}, {}) as run:
        assert measured(registry, run.run_id, patience=0.5) == {}
