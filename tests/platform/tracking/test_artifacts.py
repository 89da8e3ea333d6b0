"""Where artifacts go: to a folder, to an MLflow server that keeps them, or nowhere."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from recsae_lib.errors import InputError
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.runs import artifacts_address
from tests.stored_models import write_stored
from tests.workspace import write_mlflow_database

SECONDS = 120


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("mlflow-artifacts:/shop/", "mlflow-artifacts:/shop"),
        ("mlflow-artifacts:/", "mlflow-artifacts:"),
        ("s3://models/shop", "s3://models/shop"),
        ("file:///models", "file:///models"),
        ("dbfs:/models", "dbfs:/models"),
    ],
)
def test_an_address_is_taken_as_it_is(given: str, address: str) -> None:
    assert artifacts_address("http://mlflow:5000", given) == address


@pytest.mark.parametrize("tracking", ["sqlite:///var/mlflow.db", "var/mlruns", "postgresql://db/mlflow"])
def test_artifacts_of_a_server_are_refused_without_one(tracking: str, tmp_path: Path) -> None:
    message = r"mlflow-artifacts:/shop, which an MLflow server keeps.* Set paths\.tracking_uri to http"
    with pytest.raises(InputError, match=message):
        Registry(tracking, "mlflow-artifacts:/shop", tmp_path)


def test_a_folder_beside_a_server_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert artifacts_address("https://mlflow", "/data/artifacts") == "file:///data/artifacts"
    assert len(caplog.messages) == 1
    assert "the folder /data/artifacts of this machine" in caplog.messages[0]
    assert "Set it to mlflow-artifacts:/recsae" in caplog.messages[0]
    artifacts_address("sqlite:///mlflow.db", "/data/artifacts")
    artifacts_address("https://mlflow", "s3://models")
    assert len(caplog.messages) == 1


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps artifacts."""
    return tmp_path_factory.mktemp("server") / "kept"


@pytest.fixture(scope="module")
def server(kept: Path) -> Iterator[str]:
    """An MLflow server that keeps artifacts."""
    folder = kept.parent
    write_mlflow_database(folder / "mlflow.db")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(kept),
    ]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"]
    address = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        session = requests.Session()
        retries = requests.adapters.HTTPAdapter(
            max_retries=requests.adapters.Retry(SECONDS, backoff_factor=0.1, backoff_max=1)
        )
        session.mount(address, retries)
        assert session.get(f"{address}/health", timeout=SECONDS).ok, (folder / "server.log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.mark.integration
@pytest.mark.parametrize("artifacts", ["mlflow-artifacts:/shop", "mlflow-artifacts:/"])
def test_a_server_keeps_what_is_registered(server: str, kept: Path, tmp_path: Path, artifacts: str) -> None:
    registry = Registry(server, artifacts, tmp_path / "models")
    name = "recommender-root" if artifacts.endswith("/") else "recommender-shop"
    digest = write_stored(tmp_path / "model", "weights")
    for _ in range(2):
        with registry.training_run(name, {"job": "train_recommender"}, {}) as run:
            version = registry.register_recommender(run, name, tmp_path / "model", digest, {})
        registry.set_alias(name, "candidate", version)
    assert registry.resolve(name, "candidate") == 1
    folder = registry.fetch(name, 1)
    assert (folder / "weights.safetensors").read_text("utf-8") == "weights"
    assert len(list(kept.rglob(f"{name}/**/*.safetensors"))) == 1
    with pytest.raises(InputError, match=r"no version 'champion' of recommender-\w+ \(there are: 1 candidate\)"):
        registry.resolve(name, "champion")
    with pytest.raises(InputError, match="there are: none"):
        registry.resolve("unknown", "champion")
