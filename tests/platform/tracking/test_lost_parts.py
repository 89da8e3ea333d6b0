"""What becomes of versions whose runs, files or experiments somebody removed, and of a database that is locked."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from sqlalchemy import Engine, event

from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.version_tags import FILES_TAG, METRICS_TAG
from tests.stored_models import write_stored
from tests.workspace import write_mlflow_database

NAME, TAGS = "recommender-shop", {"job": "train_recommender"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    write_mlflow_database(tmp_path / "mlflow.db")
    return opened(tmp_path)


def opened(folder: Path) -> Registry:
    return Registry(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), folder / "models")


def registered(registry: Registry, folder: Path, weights: str = "weights", metrics: bool = True) -> int:
    """Register a version in a run of its own."""
    digest = write_stored(folder / weights, weights)
    with registry.training_run("shop", TAGS, {}) as run:
        if metrics:
            run.log_metrics({"test_ndcg@10": 0.125})
        return registry.register_recommender(run, NAME, folder / weights, digest, {"dt": "2026-11-20"})


def collect_garbage(registry: Registry, folder: Path) -> None:
    """Delete all runs for good, with their artifacts, as `mlflow gc` does."""
    for version in registry.client.search_model_versions(f"name='{NAME}'"):
        registry.client.delete_run(version.run_id)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    subprocess.run(command, check=True, capture_output=True)


def artifacts_of(registry: Registry, version: int) -> Path:
    source = registry.client.get_model_version(NAME, str(version)).source
    return Path(source.removeprefix("file://"))


@pytest.mark.integration
def test_versions_outlive_runs_that_are_deleted(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        assert registered(registry, tmp_path, f"weights {number}") == number
    registry.client.delete_model_version_tag(NAME, "1", METRICS_TAG)  # as an earlier release registered it
    registry.set_alias(NAME, "candidate", 2)
    collect_garbage(registry, tmp_path)
    after = opened(tmp_path)
    assert [after.resolve(NAME, selector) for selector in ("candidate", "latest", 1)] == [2, 2, 1]
    assert (after.promote(NAME, 1), after.promote(NAME, 2), after.champion(NAME)) == (None, 1, 2)
    assert after.metrics(NAME, 2) == {"test_ndcg_at_10": 0.125}
    assert caplog.messages == []
    assert [(version.number, version.metrics) for version in after.versions(NAME)] == [
        (2, {"test_ndcg_at_10": 0.125}),
        (1, {}),
    ]
    assert after.metrics(NAME, 1) == {}
    report = tmp_path / "checks.json"
    report.write_text("[]", encoding="utf-8")
    after.keep_report(NAME, 2, report, "audits/2026-11-20")
    assert caplog.messages == [
        f"MLflow no longer has the runs of {NAME} version 1, nor their metrics",
        f"MLflow no longer has the run of {NAME} version 1, nor its metrics: what depends on them is not known. "
        "Train again to have them",
        f"MLflow no longer has the run of {NAME} version 2: {report} is not kept there",
    ]
    with pytest.raises(InputError, match=r"version 1 cannot be fetched: .*Train again"):
        after.fetch(NAME, 1)


def test_a_selector_is_resolved_by_one_request(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(registry, tmp_path)
    registry.set_alias(NAME, "candidate", 1)
    asked: list[str] = []

    def count(original: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            asked.append(original.__name__)
            return original(*arguments, **options)

        return counted

    for name in dir(mlflow.MlflowClient):
        if not name.startswith("_") and callable(getattr(registry.client, name)):
            monkeypatch.setattr(registry.client, name, count(getattr(registry.client, name)))
    for selector in ("candidate", 1, "latest"):
        assert registry.resolve(NAME, selector) == 1
    assert asked == ["get_model_version_by_alias", "get_model_version", "search_model_versions"]


@pytest.mark.parametrize("damage", ["truncated", "removed"])
def test_a_broken_copy_is_fetched_again(registry: Registry, tmp_path: Path, damage: str) -> None:
    file = registry.fetch(NAME, registered(registry, tmp_path)) / "weights.safetensors"
    file.write_text("wei", encoding="utf-8")
    if damage == "removed":
        file.unlink()
    assert (registry.fetch(NAME, 1) / "weights.safetensors").read_text("utf-8") == "weights"


@pytest.mark.parametrize("damage", ["truncated", "removed"])
def test_training_again_heals_a_broken_version(registry: Registry, tmp_path: Path, damage: str) -> None:
    assert registered(registry, tmp_path) == 1
    stored = artifacts_of(registry, 1) / "weights.safetensors"
    stored.write_text("wei", encoding="utf-8")
    if damage == "removed":
        stored.unlink()
    with pytest.raises(InputError, match=r"version 1 .*Train again"):
        registry.fetch(NAME, 1)
    assert list((tmp_path / "models").iterdir()) == []  # nothing of it is kept
    assert registered(registry, tmp_path) == 2
    for version in (2, 1):  # a number in the settings need not be changed
        assert (registry.fetch(NAME, version) / "weights.safetensors").read_text("utf-8") == "weights"
    assert registered(registry, tmp_path) == 2


def test_what_is_broken_in_mlflow_is_not_hidden_by_a_copy(registry: Registry, tmp_path: Path) -> None:
    registry.fetch(NAME, registered(registry, tmp_path))
    (artifacts_of(registry, 1) / "weights.safetensors").unlink()
    assert registered(registry, tmp_path) == 2


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_tag_that_is_no_json_object_is_refused(registry: Registry, tmp_path: Path, content: str) -> None:
    registry.set_tags(NAME, registered(registry, tmp_path), {FILES_TAG: content})
    with pytest.raises(InputError, match=r"recsae\.files_sha256 of recommender-shop version 1 is no JSON object"):
        registry.fetch(NAME, 1)


def test_a_deleted_experiment_is_named_with_the_remedy(registry: Registry) -> None:
    with registry.training_run("shop", TAGS, {}):
        pass
    registry.client.delete_experiment("1")
    with (
        pytest.raises(InputError, match=r"shop of MLflow is deleted. Restore it .* --experiment-id 1`"),
        registry.training_run("shop", TAGS, {}),
    ):
        pass
    registry.client.restore_experiment("1")
    with registry.training_run("shop", TAGS, {}):
        pass


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the lock of a writer; MLflow waits 20 seconds for it, here not at all."""

    def impatient(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> Any:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 0"), parameters

    event.listen(Engine, "before_cursor_execute", impatient, retval=True)
    try:
        with closing(sqlite3.connect(database)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", impatient)


def test_a_locked_database_is_tried_again_and_no_bad_input(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    registered(registry, tmp_path)
    capsys.readouterr()
    started = time.monotonic()
    with locked(tmp_path / "mlflow.db"), caplog.at_level(logging.INFO):
        with pytest.raises(PassingError, match=r"does not answer: .*database is locked"):
            opened(tmp_path)
        assert guarded(lambda: registry.set_tags(NAME, 1, {"audit_status": "published"})) == 1
        assert guarded(lambda: registry.tags(NAME, 1)) == 1
    assert time.monotonic() - started < 15
    line = "recsae: A server or database that the job needs does not answer: database is locked. See to it, then run"
    assert capsys.readouterr().err.splitlines() == [f"{line} again."] * 2
    assert caplog.messages == []
