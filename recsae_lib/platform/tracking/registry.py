"""MLflow: training runs, registered versions, aliases. The only module of the library that imports mlflow.

A registered version is identified by the digest of its weights: training again with the same result gives the same
version. Weights are safetensors files; nothing that is fetched is unpickled.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array

from recsae_lib.errors import InputError, PassingError, StoppedError, lost_connection
from recsae_lib.redaction import redacted

DIGEST_TAG = "recsae.weights_sha256"
PUBLISHED_TAG = "published_dt"  # of an SAE version: date of the last published audit that used it
# The signature is stated, so MLflow need not guess it; and the steps in which it makes a new data base are no news.
warnings.filterwarnings("ignore", message=r".*An input example was not provided", module=r"mlflow\.")
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

PARAMETER_LENGTH = 500  # MLflow's limit for a parameter's value, on every backend


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model: number, aliases, tags, and the metrics of the run that made it."""

    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    run_id: str


@dataclass(frozen=True)
class TrainingRun:
    """An MLflow run under way."""

    client: MlflowClient
    run_id: str

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one epoch (`step`), or of the whole run; ``ndcg@10`` is written ``ndcg_at_10``."""
        now = int(1000 * time.time())
        entries = [Metric(name.replace("@", "_at_"), value, now, step) for name, value in metrics.items()]
        self.client.log_batch(self.run_id, metrics=entries)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log rows that have the same columns as ``tables/<name>.json``, which MLflow shows as a table."""
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        self.client.log_table(self.run_id, columns, f"tables/{name}.json")

    @contextmanager
    def nested(self, name: str, parameters: Mapping[str, Any]) -> Iterator[TrainingRun]:
        """Open a run under this one; it ends as `Registry.training_run` says."""
        parent = self.client.get_run(self.run_id)
        own = {key: value for key, value in parent.data.tags.items() if not key.startswith("mlflow.")}
        tags = {**own, "mlflow.parentRunId": self.run_id}
        with _run(self.client, parent.info.experiment_id, tags, name, parameters) as run:
            yield run

    def log_figure(self, name: str, figure: Figure) -> None:
        """Log a plot as ``plots/<name>.png``."""
        self.client.log_figure(self.run_id, figure, f"plots/{name}.png")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])


@contextmanager
def _run(
    client: MlflowClient, experiment_id: str, tags: Mapping[str, str], name: str, parameters: Mapping[str, Any]
) -> Iterator[TrainingRun]:
    """Open a run, and say how it ended."""
    run_id = client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id
    try:
        client.log_batch(
            run_id, params=[Param(name, redacted(str(value))[:PARAMETER_LENGTH]) for name, value in parameters.items()]
        )
        yield TrainingRun(client, run_id)
    except BaseException as ending:
        client.set_terminated(run_id, "KILLED" if isinstance(ending, StoppedError) else "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


class Registry:
    """Training runs and model versions of one MLflow server.

    Parameters
    ----------
    tracking_uri : address of the tracking server and registry.
    artifacts : folder or address of the artifacts of new experiments.
    cache : local folder for fetched models, one folder a digest.

    Raises
    ------
    PassingError : the server cannot be reached.
    InputError : it cannot be opened.
    """

    def __init__(self, tracking_uri: str, artifacts: str, cache: Path) -> None:
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.artifacts = artifacts if "://" in artifacts else Path(artifacts).resolve().as_uri()
        self.cache = cache
        try:
            mlflow.set_tracking_uri(tracking_uri)
            mlflow.set_registry_uri(tracking_uri)
            self.client = MlflowClient()
            self.client.search_experiments(max_results=1)
        except Exception as error:  # every backend raises another type: SQLAlchemy, requests, MLflow
            reason = str(error).strip().split("\n")[0]
            if lost_connection(error) is not None:
                raise PassingError(
                    f"MLflow at {tracking_uri} does not answer: {reason}",
                    "Check that it runs and paths.tracking_uri is its address, then run again",
                ) from error
            raise InputError(f"Cannot open MLflow at {tracking_uri}: {reason}", "Check paths.tracking_uri") from error

    @contextmanager
    def training_run(
        self, experiment: str, tags: Mapping[str, str], parameters: Mapping[str, Any]
    ) -> Iterator[TrainingRun]:
        """Open a run; a failure inside marks it FAILED, a stop KILLED.

        Runs with the same tags that a kill left open are closed.
        """
        experiment_id = self._experiment(experiment)
        self._close_abandoned(experiment_id, tags)
        with _run(self.client, experiment_id, tags, " ".join(tags.values()), parameters) as run:
            yield run

    def register_recommender(
        self, run: TrainingRun, name: str, folder: Path, digest: str, tags: Mapping[str, str]
    ) -> int:
        """Register a folder of `recommenders.store`; returns the version, an older one where the weights are its."""
        if (known := self._version_of(name, digest)) is not None:
            return known
        self.client.log_artifacts(run.run_id, str(folder), "recommender")
        source = f"{self.client.get_run(run.run_id).info.artifact_uri}/recommender"
        return self._create(name, source, run, digest, tags)

    def register_sae(
        self, run: TrainingRun, name: str, folder: Path, digest: str, example: np.ndarray, tags: Mapping[str, str]
    ) -> int:
        """Register a folder of `sae.store` as a pyfunc (models from code): raw (n, d) float32 representations in,
        ``latent_ids`` and ``activations`` out. Returns the version, an older one where the weights are its.

        Parameters
        ----------
        example : (n, d) some representations, kept beside the model.
        """
        if (known := self._version_of(name, digest)) is not None:
            return known
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype("float32"), (-1, example.shape[1]))]),
            outputs=Schema(
                [ColSpec(Array(DataType.integer), "latent_ids"), ColSpec(Array(DataType.float), "activations")]
            ),
        )
        with mlflow.start_run(run_id=run.run_id):
            logged = mlflow.pyfunc.log_model(
                name="sae",
                python_model=str(files("recsae_lib.sae") / "served.py"),
                artifacts={"sae": str(folder)},
                signature=signature,
                input_example=example,
                pip_requirements=["recsae"],
            )
        return self._create(name, logged.model_uri, run, digest, tags, model_id=logged.model_id)

    def champion(self, name: str) -> int | None:
        """Number of the version of the last published audit, or promoted since; None where there is none."""
        return next((version.number for version in self.versions(name) if "champion" in version.aliases), None)

    def promote(self, name: str, version: int) -> int | None:
        """Point the alias champion at a version, and previous at the one that was champion; returns the latter.

        Promoting the champion changes nothing. Killed in between, it leaves the champion as it was, and goes on when
        called again.
        """
        before = self.champion(name)
        if before is not None and before != version:
            self.set_alias(name, "previous", before)
        self.set_alias(name, "champion", version)
        return before

    def resolve(self, name: str, selector: str | int) -> int:
        """Turn ``latest``, an alias or a number into a number.

        Raises
        ------
        InputError : there is no such version.
        """
        versions = self.versions(name)
        for version in versions:
            if selector == "latest" or selector == version.number or selector in version.aliases:
                return version.number
        there_are = ", ".join(f"{v.number} {' '.join(v.aliases)}".strip() for v in versions) or "none"
        raise InputError(
            f"MLflow has no version {selector!r} of {name} (there are: {there_are})",
            "Train one first (train_recommender, train_sae), or set recommender.version or sae.version",
        )

    def versions(self, name: str) -> list[ModelVersion]:
        """Return all versions of a model, newest first; none where the model is unknown."""
        found = self.client.search_model_versions(f"name='{name}'")
        aliases = self._aliases(name) if found else {}
        return sorted(
            (
                ModelVersion(
                    int(version.version),
                    tuple(sorted(alias for alias, number in aliases.items() if number == int(version.version))),
                    version.tags,
                    self.client.get_run(version.run_id).data.metrics,
                    version.run_id,
                )
                for version in found
            ),
            key=lambda version: -version.number,
        )

    def fetch(self, name: str, version: int) -> Path:
        """Return a local folder with the files of one version; fetched once a digest, complete or not at all.

        Raises
        ------
        InputError : there is no such version, or its files cannot be had.
        """
        tags = self._get(name, version).tags
        target = self.cache / tags.get(DIGEST_TAG, f"{name}-{version}")
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as staging:
            try:
                source = self.client.get_model_version_download_uri(name, str(version))
                fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=staging))
            except (MlflowException, OSError) as error:
                raise InputError(
                    f"The files of {name} version {version} cannot be fetched: {error}", "Register the model again"
                ) from error
            pyfunc_artifacts = fetched / "artifacts"
            folder = next(pyfunc_artifacts.iterdir()) if pyfunc_artifacts.is_dir() else fetched
            if not target.is_dir():
                shutil.move(folder, target)
        return target

    def tags(self, name: str, version: int) -> Mapping[str, str]:
        """Tags of one version: what its training wrote down for later jobs."""
        return self._get(name, version).tags

    def metrics(self, name: str, version: int) -> Mapping[str, float]:
        """Last metrics of the run that made one version."""
        return self.client.get_run(self._get(name, version).run_id).data.metrics

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Tag a version; other tags stay."""
        for tag, value in tags.items():
            self.client.set_model_version_tag(name, str(version), tag, value)

    def keep_report(self, name: str, version: int, file: Path, folder: str) -> None:
        """Keep a file among the artifacts of the run that registered a version; one of an earlier call is replaced.

        Parameters
        ----------
        folder : of the artifacts; made where it is missing.
        """
        self.client.log_artifact(self._get(name, version).run_id, str(file), folder)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        self.client.set_registered_model_alias(name, alias, str(version))

    def _get(self, name: str, version: int) -> Any:
        try:
            return self.client.get_model_version(name, str(version))
        except MlflowException as error:
            raise InputError(f"MLflow has no version {version} of {name}", "`recsae versions` lists them") from error

    def _aliases(self, name: str) -> dict[str, int]:
        return {alias: int(number) for alias, number in self.client.get_registered_model(name).aliases.items()}

    def _create(
        self,
        name: str,
        source: str,
        run: TrainingRun,
        digest: str,
        tags: Mapping[str, str],
        model_id: str | None = None,
    ) -> int:
        if not self.client.search_registered_models(f"name='{name}'"):
            self.client.create_registered_model(name)
        version = self.client.create_model_version(
            name, source, run.run_id, tags={**tags, DIGEST_TAG: digest}, model_id=model_id
        )
        return int(version.version)

    def _version_of(self, name: str, digest: str) -> int | None:
        found = [
            int(v.version)
            for v in self.client.search_model_versions(f"name='{name}'")
            if v.tags.get(DIGEST_TAG) == digest
        ]
        return min(found, default=None)

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=f"{self.artifacts}/{name}"))

    def _close_abandoned(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        same = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        for run in self.client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and {same}"):
            self.client.set_terminated(run.info.run_id, "KILLED")
