"""What the pages of MLflow say of an audit: the descriptions and metrics of an SAE version and its run."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import torch

from recsae_lib.platform.tracking.audit_notes import AuditNote, keep_note
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae, weights_digest
from tests.workspace import write_mlflow_database

NAME, NOTE_TAG = "recsae-shop", "mlflow.note.content"
PUBLISHED = datetime(2026, 11, 20, 4, 30, tzinfo=timezone.utc)
SENTENCES = ("9 of 55 live latents are confirmed concepts", "K-means clusters: more confirmed units than the SAE")
NOTE = AuditNote(date(2026, 11, 20), PUBLISHED, SENTENCES, {"confirmed_units": 9.0, "ndcg_at_10_kept": 0.9425})
SAID = """An SAE.

### The newest published audit

Of 2026-11-20. **9 of 55 live latents are confirmed concepts.**

K-means clusters: more confirmed units than the SAE.

- confirmed units: 9
- NDCG@10 kept: 94.2%"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with one SAE version."""
    write_mlflow_database(tmp_path / "mlflow.db")
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"), tmp_path / "models")
    directions = torch.eye(2)
    sae = SparseAutoencoder(directions, torch.zeros(2), directions.clone(), torch.zeros(2), k=1)
    save_sae(sae, tmp_path / "sae", {})
    with registry.training_run(NAME, {"job": "train_sae"}, {}) as run:
        run.log_metrics({"fvu": 0.25})
        run.describe("An SAE.")
        example = np.ones((1, 2), np.float32)
        registry.register_sae(run, NAME, tmp_path / "sae", weights_digest(tmp_path / "sae"), example, {})
    return registry


def pages(registry: Registry) -> list[str]:
    """Descriptions of the version and of its run."""
    version = registry.client.get_model_version(NAME, "1")
    return [version.description, registry.client.get_run(version.run_id).data.tags[NOTE_TAG]]


def history(registry: Registry, metric: str) -> list[tuple[int, float]]:
    run_id = registry.client.get_model_version(NAME, "1").run_id
    return [(one.step, one.value) for one in registry.client.get_metric_history(run_id, metric)]


def of_model(registry: Registry) -> dict[str, float]:
    """Metrics that the page of the served model shows."""
    model = registry.client.get_logged_model(registry.client.get_model_version(NAME, "1").source.partition(":/")[2])
    return {one.key: one.value for one in model.metrics if one.key.startswith("audit/")}


def test_version_run_and_model_tell_of_the_audit_once(registry: Registry) -> None:
    assert pages(registry) == ["An SAE.", "An SAE."]
    for _ in range(2):  # a job that was killed runs again
        keep_note(registry, NAME, 1, NOTE, is_newest=True)
    assert pages(registry) == [SAID, SAID]
    assert history(registry, "audit/confirmed_units") == [(20261120, 9.0)]
    assert of_model(registry) == {"audit/confirmed_units": 9.0, "audit/ndcg_at_10_kept": 0.9425}
    assert registry.metrics(NAME, 1) == {"fvu": 0.25}  # what its training measured, as before


def test_a_night_that_is_published_again_has_its_last_figures(registry: Registry) -> None:
    again = replace(NOTE, finished_at=PUBLISHED + timedelta(hours=2), figures={"confirmed_units": 7.0})
    for note in (NOTE, again):
        keep_note(registry, NAME, 1, note, is_newest=True)
    assert of_model(registry)["audit/confirmed_units"] == 7.0
    assert all("- confirmed units: 7" in page for page in pages(registry))


def test_an_older_audit_leaves_the_words_and_is_in_the_chart(registry: Registry) -> None:
    keep_note(registry, NAME, 1, NOTE, is_newest=True)
    older = replace(
        NOTE, dt=date(2026, 11, 2), finished_at=PUBLISHED + timedelta(days=1), figures={"confirmed_units": 3.0}
    )
    keep_note(registry, NAME, 1, older, is_newest=False)
    assert pages(registry) == [SAID, SAID]
    assert sorted(history(registry, "audit/confirmed_units")) == [(20261102, 3.0), (20261120, 9.0)]
    assert of_model(registry)["audit/confirmed_units"] == 9.0


def test_what_people_wrote_before_it_stays(registry: Registry) -> None:
    registry.client.update_model_version(NAME, "1", "Ours since May.\n\n### Why\n\nIt is good.")
    for _ in range(2):
        keep_note(registry, NAME, 1, NOTE, is_newest=True)
    assert pages(registry)[0] == SAID.replace("An SAE.", "Ours since May.\n\n### Why\n\nIt is good.")


def test_a_version_without_its_run_is_described_all_the_same(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = registry.client.get_model_version(NAME, "1").run_id
    registry.client.delete_run(run_id)
    registry.client._tracking_client.store._hard_delete_run(run_id)  # as `mlflow gc` does
    with caplog.at_level(logging.WARNING, "recsae"):
        keep_note(registry, NAME, 1, NOTE, is_newest=True)
    assert registry.client.get_model_version(NAME, "1").description == SAID
    assert caplog.messages == ["MLflow no longer has the run of recsae-shop version 1: it gets no figures of the audit"]
