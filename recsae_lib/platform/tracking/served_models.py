"""An SAE as a model that MLflow serves: its code, the packages that this needs, and its files."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

# What `sae.served` imports: with these MLflow builds the environment of a served version. A package recsae is not among
# them: a name that no index of ours has would be asked for at any.
PACKAGES = ("mlflow", "numpy", "pandas", "safetensors", "torch")


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
    # Under an id: what is logged by name goes to the run or the experiment that somebody made the active one.
    parent = client.get_run(run_id)
    model = client.create_logged_model(parent.info.experiment_id, "sae", run_id, params=parent.data.params)
    Model.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        run_id=run_id,
        model_id=model.model_id,
        python_model=str(files("recsae_lib.sae") / "served.py"),
        artifacts={"sae": str(folder)},
        signature=signature,
        input_example=example,
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in PACKAGES],
    )
    return model
