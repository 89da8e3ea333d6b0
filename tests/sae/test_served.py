"""A registered SAE as MLflow serves it: what it takes, what it needs, and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae, weights_digest
from tests.workspace import REPOSITORY, write_mlflow_database

NAME = "recsae-shop"
# Two latents of one direction, which tie; the third row has nothing above the threshold.
ROWS = np.array([[3.0, 0.0], [1.0, 2.0], [0.25, 0.0]])
LATENT_IDS, ACTIVATIONS = [[0, 2], [1, 0], []], [[3.0, 3.0], [2.0, 1.0], []]
INPUTS: dict[str, Callable[[], Any]] = {
    "float32": lambda: ROWS.astype(np.float32),
    "float64": lambda: ROWS,
    "lists": ROWS.tolist,
    "tensor": lambda: torch.from_numpy(ROWS),
    "frame": lambda: pd.DataFrame(ROWS, columns=["a", "b"]),
    "frame of float32": lambda: pd.DataFrame(ROWS.astype(np.float32)),
    "frame of objects": lambda: pd.DataFrame(ROWS).astype(object),
    "frame of vectors": lambda: pd.DataFrame({"x": list(ROWS)}),
    "frame of users": lambda: pd.DataFrame({"user_id": ["u1", "u2", "u3"], "representation": ROWS.tolist()}),
}


def sae() -> SparseAutoencoder:
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    return SparseAutoencoder(directions, torch.zeros(3), directions.clone(), torch.zeros(2), k=2, threshold=0.5)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One version, registered while another run and another experiment are the active ones of this process."""
    folder = tmp_path_factory.mktemp("served")
    write_mlflow_database(folder / "mlflow.db")
    registry = Registry(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), folder / "models")
    save_sae(sae(), folder / "sae", {})
    mlflow.set_experiment("of a notebook")
    with mlflow.start_run(), registry.training_run(NAME, {"job": "train_sae"}, {"k": 2}) as run:
        example = ROWS.astype(np.float32)
        registry.register_sae(run, NAME, folder / "sae", weights_digest(folder / "sae"), example, {})
    mlflow.tracking.fluent._active_experiment_id = None  # MLflow has no function for it
    return registry


@pytest.fixture(scope="module")
def served(registry: Registry) -> Path:
    """The model as a folder."""
    source = registry.client.get_model_version(NAME, "1").source
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=source))


@pytest.mark.parametrize("name", INPUTS)
def test_numbers_of_every_form_are_encoded(served: Path, name: str) -> None:
    encoded = mlflow.pyfunc.load_model(str(served)).predict(INPUTS[name]())
    assert encoded.to_dict("list") == {"latent_ids": LATENT_IDS, "activations": ACTIVATIONS}


def test_one_vector_is_one_row_and_nothing_is_none(served: Path) -> None:
    model = mlflow.pyfunc.load_model(str(served))
    assert model.predict(ROWS[1]).to_dict("list") == {"latent_ids": [[1, 0]], "activations": [[2.0, 1.0]]}
    assert model.predict(np.empty((0, 2))).to_dict("list") == {"latent_ids": [], "activations": []}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((2, 3)), r"rows of 2 numbers are expected, not an array of the shape \(2, 3\)"),
        ([[1.0, 2.0], [1.0]], "rows of 2 numbers are expected, all of that length"),
        (pd.DataFrame({"user_id": ["u"], "a": [1.0]}), "all of that length and nothing else"),
        (pd.DataFrame({"a": [1.0, 2.0]}), r"not an array of the shape \(2,\)"),
        (np.array([[1.0, np.nan]]), "holds NaN or an infinite number"),
    ],
)
def test_what_are_no_representations_is_refused(served: Path, given: Any, message: str) -> None:
    with pytest.raises(MlflowException, match=message):
        mlflow.pyfunc.load_model(str(served)).predict(given)


def test_it_encodes_as_the_library_does(registry: Registry, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((200, 6)).astype(np.float32)
    trained = SparseAutoencoder.initialise(torch.from_numpy(rows), 24, 3, seed=2)
    trained.threshold = 0.3
    save_sae(trained, tmp_path / "sae", {})
    with registry.training_run(NAME, {"job": "train_sae"}, {}) as run:
        digest = weights_digest(tmp_path / "sae")
        version = registry.register_sae(run, "another", tmp_path / "sae", digest, rows[:2], {})
    encoded = mlflow.pyfunc.load_model(f"models:/another/{version}").predict(rows)
    activations, latent_ids = trained.encode(torch.from_numpy(rows))
    expected = [ids[on].tolist() for ids, on in zip(latent_ids, activations > 0, strict=True)]
    assert encoded["latent_ids"].tolist() == expected
    found = np.concatenate([np.array(of_row) for of_row in encoded["activations"]])
    np.testing.assert_allclose(found, activations[activations > 0].numpy(), rtol=1e-5)


def test_the_version_is_of_its_own_run_and_experiment(registry: Registry) -> None:
    version = registry.client.get_model_version(NAME, "1")
    run = registry.client.get_run(version.run_id)
    experiment = registry.client.get_experiment_by_name(NAME)
    assert run.info.experiment_id == experiment.experiment_id
    assert run.info.status == "FINISHED"
    logged = registry.client.get_logged_model(version.source.removeprefix("models:/"))
    assert (logged.source_run_id, logged.experiment_id) == (version.run_id, experiment.experiment_id)
    assert (str(logged.status), logged.params) == ("READY", {"k": "2"})


def test_requirements_name_versions_and_no_package_recsae(served: Path) -> None:
    lines = (served / "requirements.txt").read_text("utf-8").split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "numpy", "pandas", "safetensors", "torch"]
    assert all(line.partition("==")[2][0].isdigit() and "+" not in line for line in lines)
    assert "recsae" not in (served / "conda.yaml").read_text("utf-8")


WITHOUT_RECSAE = """
import json, sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("recsae_lib", "recsae_jobs", "pyspark", "numba", "pydantic_settings"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
import mlflow, numpy as np
print(mlflow.pyfunc.load_model(sys.argv[1]).predict(np.array([[1.0, 2.0]])).to_json())
"""


@pytest.mark.integration
def test_it_is_served_where_recsae_is_not_installed(served: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_RECSAE, str(served)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"latent_ids": {"0": [1, 0]}, "activations": {"0": [2.0, 1.0]}}


def test_code_of_earlier_releases_finds_the_store(tmp_path: Path) -> None:
    # Their versions have this line in the code that MLflow kept beside the weights.
    program = "from recsae_lib.sae.store import load_sae; load_sae"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
