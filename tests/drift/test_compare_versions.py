"""By what two SAEs are compared, on a registry of their own; whole comparisons are in tests/audit/test_drift.py."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest
import torch

from recsae_jobs.compare_versions import directions_of_both
from recsae_lib.config import Settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae, weights_digest
from tests.publishing import publication
from tests.workspace import write_mlflow_database

NAME = "recsae-shop"
EARLIER = publication(date(2026, 11, 20), 1, model_version=3)


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    """An audit by version 2; versions 1 and 2 have two latents each."""
    write_mlflow_database(tmp_path / "mlflow.db")
    paths = {
        "var": str(tmp_path / "var"),
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "artifacts": str(tmp_path / "artifacts"),
    }
    settings = Settings.model_validate({"namespace": "shop", "paths": paths, "sae": {"version": 2}})
    context = JobContext("compare_versions", settings, date(2026, 11, 21))
    for directions in (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])):
        folder = tmp_path / "sae"
        save_sae(SparseAutoencoder(directions, torch.zeros(2), directions.clone(), torch.zeros(2), k=1), folder, {})
        with context.registry.training_run(NAME, {"job": "train_sae"}, {}) as run:
            tags = {"model_version": "3"}
            context.registry.register_recommender(run, NAME, folder, weights_digest(folder), tags)
    return context


def test_directions_are_compared_of_one_recommender_version(context: JobContext) -> None:
    both = directions_of_both(context, EARLIER)
    assert both is not None
    assert [directions.tolist() for directions in both] == [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    context.registry.set_tags(NAME, 1, {"model_version": "2"})
    assert directions_of_both(context, EARLIER) is None


def test_an_earlier_sae_that_is_lost_is_no_dead_end(
    context: JobContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = context.registry.client.get_model_version(NAME, "1").source
    shutil.rmtree(source.removeprefix("file://"))
    assert directions_of_both(context, EARLIER) is None
    context.registry.client.delete_model_version(NAME, "1")
    assert directions_of_both(context, EARLIER) is None
    fetched, unknown = (message for message in caplog.messages if message.startswith("compare_versions: "))
    assert fetched.startswith("compare_versions: The files of recsae-shop version 1 cannot be fetched: ")
    assert fetched.endswith("; latents are compared by their activations")
    assert unknown == (
        "compare_versions: MLflow has no version 1 of recsae-shop; latents are compared by their activations"
    )
