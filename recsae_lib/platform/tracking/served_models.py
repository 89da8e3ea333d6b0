"""A recommender or an SAE as a model that MLflow serves: its code, the packages that this needs, and its files."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from recsae_lib.recommenders.store import read_description
from recsae_lib.recommenders.vocabulary import FILES

# What `sae.served` and `recommenders.served` import: with these MLflow builds the environment of a served version. A
# package recsae is not among them: a name that no index of ours has would be asked for at any.
PACKAGES = ("mlflow", "numpy", "pandas", "safetensors", "torch")
PACKAGES_OF_RECOMMENDERS = ("mlflow", "pandas", "pyarrow", "safetensors", "torch")
TOP_N = 10
EXAMPLE_ITEMS = 3
NO_USER = "the id of a user"  # in the example, which outlives people who ask to be forgotten


def log_served_sae(client: MlflowClient, run_id: str, folder: Path, example: np.ndarray) -> LoggedModel:
    """Log a folder of `sae.store` with the code that serves it (`sae.served`; models from code).

    Parameters
    ----------
    run_id : of the training.
    example : (n, d) some representations, kept beside the model.
    """
    # Of inputs MLflow refuses what has not the very type that a signature states; the model itself checks them.
    signature = ModelSignature(
        outputs=Schema([ColSpec(Array(DataType.integer), "latent_ids"), ColSpec(Array(DataType.float), "activations")])
    )
    return _log(client, run_id, "sae", "sae", folder, signature, example, PACKAGES)


def log_served_recommender(client: MlflowClient, run_id: str, folder: Path) -> LoggedModel:
    """Log a folder of `recommenders.store` with the code that serves it (`recommenders.served`; models from code).

    Parameters
    ----------
    run_id : of the training.
    folder : of one of `recommenders.store.FAMILIES`.
    """
    looks_up = read_description(folder).reads_user_index
    history = ColSpec(Array(DataType.string), "history", required=not looks_up)
    signature = ModelSignature(
        inputs=Schema([*([ColSpec(DataType.string, "user_id")] if looks_up else []), history]),
        outputs=Schema([ColSpec(Array(DataType.string), "item_ids"), ColSpec(Array(DataType.float), "scores")]),
        params=ParamSchema([ParamSpec("top_n", DataType.integer, TOP_N)]),
    )
    with pq.ParquetFile(folder / FILES["item"]) as vocabulary:
        first = next(vocabulary.iter_batches(EXAMPLE_ITEMS, columns=["item_id"])).column(0).to_pylist()
    example = pd.DataFrame({**({"user_id": [NO_USER]} if looks_up else {}), "history": [first]})
    return _log(client, run_id, "recommenders", "recommender", folder, signature, example, PACKAGES_OF_RECOMMENDERS)


def _log(
    client: MlflowClient,
    run_id: str,
    room: str,
    name: str,
    folder: Path,
    signature: ModelSignature,
    example: Any,
    packages: tuple[str, ...],
) -> LoggedModel:
    """Log a folder as the only artifact, `name`, of a model that is served by the code of a folder of the library."""
    # Under an id: what is logged by name goes to the run or the experiment that somebody made the active one.
    parent = client.get_run(run_id)
    model = client.create_logged_model(parent.info.experiment_id, name, run_id, params=parent.data.params)
    Model.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        run_id=run_id,
        model_id=model.model_id,
        python_model=str(files(f"recsae_lib.{room}") / "served.py"),
        artifacts={name: str(folder)},
        signature=signature,
        input_example=example,
        pip_requirements=[f"{package}=={version(package).split('+')[0]}" for package in packages],
    )
    return model
