"""MLflow runs: opened in an experiment of ours, filled while a training goes on, closed with how it ended."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking.context.git_context import GitRunContext
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from recsae_lib.errors import InputError, StoppedError
from recsae_lib.platform.job.log import log
from recsae_lib.platform.tracking.system_metrics import measured_system
from recsae_lib.redaction import redacted

ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]+:")  # s3://…, mlflow-artifacts:/…; a letter and a colon is a drive
# Of an experiment: it is about models that are trained, not about language models. MLflow has no constant for it: its
# pages know name and value. Where they have a switch for this (3.17), the switch decides.
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
AUDIT_METRICS, SYSTEM_METRICS = "audit/", "system/"  # beginnings of names: from later audits, and of the machine
PARAMETER_LENGTH = 500  # MLflow's limit for a parameter's value, on every backend


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

    def log_inputs(self, datasets: Sequence[Dataset]) -> None:
        """Say what the run is trained on (`inputs`)."""
        trained_on = [InputTag(MLFLOW_DATASET_CONTEXT, "training")]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, trained_on) for dataset in datasets])

    def describe(self, text: str) -> None:
        """Give the run its description, in Markdown."""
        self.set_tags({MLFLOW_RUN_NOTE: text})

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log rows that have the same columns as ``tables/<name>.json``, which MLflow shows as a table."""
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        self.client.log_table(self.run_id, columns, f"tables/{name}.json")

    @contextmanager
    def nested(self, name: str, parameters: Mapping[str, Any]) -> Iterator[TrainingRun]:
        """Open a run under this one; it ends as `Registry.training_run` says."""
        parent = self.client.get_run(self.run_id)
        own = {key: value for key, value in parent.data.tags.items() if not key.startswith("mlflow.")}
        tags = {**own, MLFLOW_PARENT_RUN_ID: self.run_id}
        with open_run(self.client, parent.info.experiment_id, tags, name, parameters) as run:
            yield run

    def log_figure(self, name: str, figure: Figure) -> None:
        """Log a plot as ``plots/<name>.png``."""
        self.client.log_figure(self.run_id, figure, f"plots/{name}.png")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def artifacts_address(tracking_uri: str, artifacts: str) -> str:
    """Return the address of the artifacts of new experiments; warn where other machines cannot read them.

    Raises
    ------
    InputError : it is of a kind that only a server keeps, and there is none.
    """
    is_server = tracking_uri.startswith(("http://", "https://"))
    if artifacts.startswith("mlflow-artifacts:") and not is_server:
        raise InputError(
            f"paths.artifacts is {artifacts}, which an MLflow server keeps, but paths.tracking_uri names no server",
            "Set paths.tracking_uri to http://… of the server, or paths.artifacts to a folder or to s3://…",
        )
    if ADDRESS.match(artifacts):
        return artifacts.rstrip("/")
    if is_server:
        log.warning(
            "MLflow is a server, but paths.artifacts is the folder %s of this machine: others cannot fetch the models "
            "from there. Set it to mlflow-artifacts:/recsae, which the server keeps, or to an address such as s3://…",
            artifacts,
        )
    return Path(artifacts).resolve().as_uri()


@contextmanager
def open_run(
    client: MlflowClient, experiment_id: str, tags: Mapping[str, str], name: str, parameters: Mapping[str, Any]
) -> Iterator[TrainingRun]:
    """Open a run, and say how it ended. It also gets the tags of MLflow's own: who started it, and which job it is."""
    # Without that of git: it looks where the program lies, in whose repository that may be, and keeps its address.
    source = {MLFLOW_SOURCE_NAME: f"jobs/{tags['job']}.py", MLFLOW_SOURCE_TYPE: "JOB"} if "job" in tags else {}
    run_id = client.create_run(
        experiment_id, tags=resolve_tags({**source, **tags}, [GitRunContext]), run_name=name
    ).info.run_id
    try:
        client.log_batch(
            run_id, params=[Param(name, redacted(str(value))[:PARAMETER_LENGTH]) for name, value in parameters.items()]
        )
        with nullcontext() if MLFLOW_PARENT_RUN_ID in tags else measured_system(client, run_id):
            yield TrainingRun(client, run_id)
    except BaseException as ending:
        client.set_terminated(run_id, "KILLED" if isinstance(ending, StoppedError) else "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def experiment_of(client: MlflowClient, name: str, artifacts: str) -> str:
    """Return the id of an experiment; it is made where there is none, and gets a kind where it has none.

    Parameters
    ----------
    artifacts : address of the artifacts of a new one.

    Raises
    ------
    InputError : somebody has deleted it.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name, artifact_location=artifacts, tags={KIND_TAG: KIND}))
    if experiment.lifecycle_stage == "deleted":
        number = experiment.experiment_id
        raise InputError(
            f"The experiment {name} of MLflow is deleted",
            f"Restore it with `mlflow experiments restore --experiment-id {number}`, or remove it for good with "
            f"`mlflow gc --experiment-ids {number}`, and a new one is made",
        )
    if KIND_TAG not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, KIND_TAG, KIND)
    return str(experiment.experiment_id)


def of_training(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those metrics of a run that its job measured."""
    return {name: value for name, value in metrics.items() if not name.startswith((AUDIT_METRICS, SYSTEM_METRICS))}


def close_abandoned(client: MlflowClient, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Close the runs with these tags that a kill left open."""
    same = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    for run in client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and {same}"):
        client.set_terminated(run.info.run_id, "KILLED")
