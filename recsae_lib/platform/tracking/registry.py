"""MLflow: training runs, registered versions, aliases. Only this folder, and `sae.served`, imports mlflow.

A registered version is identified by the digest of its weights: training again with the same result gives the same
version. It keeps what later jobs need of its run, which somebody may delete. Weights are safetensors files; nothing
that is fetched is unpickled.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as RegisteredVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from recsae_lib.errors import InputError, PassingError, lost_connection
from recsae_lib.platform.job.log import log
from recsae_lib.platform.remote_names import file_name
from recsae_lib.platform.tracking.model_files import difference, digests_of, download, weight_files
from recsae_lib.platform.tracking.relocation import refuse_misplaced_artifacts
from recsae_lib.platform.tracking.runs import (
    TrainingRun,
    artifacts_address,
    close_abandoned,
    experiment_of,
    of_training,
    open_run,
)
from recsae_lib.platform.tracking.served_models import log_served_recommender, log_served_sae
from recsae_lib.platform.tracking.version_tags import DIGEST_TAG, FILES_TAG, METRICS_TAG, kept_in, stated_digest

MOST_ACTIVE_TAG = "most_active_latents"  # of an SAE version: latents that a row may have, k or, of BatchTopK, 4k
PUBLISHED_TAG = "published_dt"  # of an SAE version: date of the last published audit that used it
NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter of an alias that nobody has set
# The signature is stated, so MLflow need not guess it; and the steps in which it makes a new data base are no news.
for known in ("An input example was not provided", "Add type hints to the `predict` method"):
    warnings.filterwarnings("ignore", message=f".*{known}", module=r"mlflow\.")
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # writes the traceback of what it raises
logging.getLogger("alembic").setLevel(logging.WARNING)


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model: number, aliases, tags, the run that made it, and the metrics of that run."""

    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    run_id: str


class Registry:
    """Training runs and model versions of one MLflow server.

    Parameters
    ----------
    tracking_uri : address of the tracking server and registry.
    artifacts : folder or address of the artifacts of new experiments.
    cache : local folder for fetched models, one folder a digest.

    Raises
    ------
    PassingError : the server cannot be reached, or its database is locked.
    InputError : it cannot be opened, or does not keep artifacts at such an address.
    """

    def __init__(self, tracking_uri: str, artifacts: str, cache: Path) -> None:
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.artifacts = artifacts_address(tracking_uri, artifacts)
        self.cache = cache
        refuse_misplaced_artifacts(tracking_uri, self.artifacts)
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
        experiment_id = experiment_of(self.client, experiment, f"{self.artifacts}/{experiment}")
        close_abandoned(self.client, experiment_id, tags)
        with open_run(self.client, experiment_id, tags, " ".join(tags.values()), parameters) as run:
            yield run

    def register_recommender(
        self, run: TrainingRun, name: str, folder: Path, digest: str, tags: Mapping[str, str], served: bool = False
    ) -> int:
        """Register a folder of `recommenders.store`; returns the version, an older one with these weights if intact.

        Parameters
        ----------
        served : as a pyfunc (models from code), see `recommenders.served`; else as files alone.
        """
        if (known := self._intact_version_of(name, digest)) is not None:
            return known
        if served:
            model, tags = log_served_recommender(self.client, run.run_id, folder), {**tags, DIGEST_TAG: digest}
            return self._create(name, model.model_uri, run, folder, tags, model_id=model.model_id)
        self.client.log_artifacts(run.run_id, str(folder), "recommender")
        source = f"{self.client.get_run(run.run_id).info.artifact_uri}/recommender"
        return self._create(name, source, run, folder, {**tags, DIGEST_TAG: digest})

    def register_sae(
        self, run: TrainingRun, name: str, folder: Path, digest: str, example: np.ndarray, tags: Mapping[str, str]
    ) -> int:
        """Register a folder of `sae.store` as a pyfunc (models from code), see `sae.served`. Returns the version, an
        older one where the weights of all dictionaries are its and MLflow still has them.

        Parameters
        ----------
        example : (n, d) some representations, kept beside the model.
        """
        if (known := self._intact_version_of(name, digest, weight_files(digests_of(folder)))) is not None:
            return known
        model = log_served_sae(self.client, run.run_id, folder, example)
        tags = {**tags, DIGEST_TAG: digest}
        return self._create(name, model.model_uri, run, folder, tags, model_id=model.model_id)

    def champion(self, name: str) -> int | None:
        """Number of the version of the last published audit, or promoted since; None where there is none."""
        return self.version_with(name, "champion")

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
        """Turn ``latest``, an alias or a number into a number, by one request.

        Raises
        ------
        InputError : there is no such version.
        """
        if (number := self.version_with(name, selector)) is not None:
            return number
        aliases = self._aliases(name)
        numbers = sorted((int(found.version) for found in self._search(name)), reverse=True)
        there_are = ", ".join(" ".join([str(number), *aliases.get(number, ())]) for number in numbers) or "none"
        raise InputError(
            f"MLflow has no version {selector!r} of {name} (there are: {there_are})",
            "Train one first (train_recommender, train_sae), or set recommender.version or sae.version",
        )

    def version_with(self, name: str, selector: str | int) -> int | None:
        """Number of the version that ``latest``, an alias or a number names; None where there is none."""
        if selector == "latest":
            newest = self._search(name, max_results=1, order_by=["version_number DESC"])
            return int(newest[0].version) if newest else None
        try:
            if isinstance(selector, int):
                return int(self.client.get_model_version(name, str(selector)).version)
            return int(self.client.get_model_version_by_alias(name, selector).version)
        except MlflowException as error:
            if error.error_code not in NOT_FOUND:
                raise
            return None

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, newest first; a warning names those whose metrics are gone with their runs."""
        found = sorted(self._search(name), key=lambda version: -int(version.version))
        aliases = self._aliases(name) if found else {}
        metrics = [self._metrics(version) for version in found]
        if gone := [str(version.version) for version, known in zip(found, metrics, strict=True) if known is None]:
            log.warning("MLflow no longer has the runs of %s version %s, nor their metrics", name, ", ".join(gone))
        return [
            ModelVersion(int(one.version), aliases.get(int(one.version), ()), one.tags, known or {}, one.run_id or "")
            for one, known in zip(found, metrics, strict=True)
        ]

    def fetch(self, name: str, version: int) -> Path:
        """Return a local folder with the files of one version; fetched once a digest, complete or not at all.

        Where MLflow has lost them, those of another version with the same weights do.

        Raises
        ------
        InputError : there is no such version, its files cannot be had, or they are not those that its tags state.
        """
        wanted = self._get(name, version)
        target, digest = self._folder_of(name, wanted), stated_digest(wanted)
        if target.is_dir() and difference(target, kept_in(wanted, FILES_TAG), digest) is None:
            return target
        same = [found for found in self._search(name, digest) if found.version != wanted.version] if digest else []
        faults = []
        for one in (wanted, *same):
            try:
                self._download(one, target)
                return target
            except InputError as fault:
                faults.append(fault)
        raise faults[0]

    def tags(self, name: str, version: int) -> Mapping[str, str]:
        """Tags of one version: what its training wrote down for later jobs."""
        return self._get(name, version).tags

    def metrics(self, name: str, version: int) -> Mapping[str, float]:
        """Last metrics of the run that made one version; none, and a warning, where they are gone with the run."""
        metrics = self._metrics(self._get(name, version))
        if metrics is None:
            log.warning(
                "MLflow no longer has the run of %s version %s, nor its metrics: what depends on them is not known. "
                "Train again to have them",
                name,
                version,
            )
        return metrics or {}

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Tag a version; other tags stay."""
        for tag, value in tags.items():
            self.client.set_model_version_tag(name, str(version), tag, value)

    def keep_report(self, name: str, version: int, file: Path, folder: str) -> None:
        """Keep a file among the artifacts of the run that registered a version; one of an earlier call is replaced.

        Where that run is gone, a warning says so.

        Parameters
        ----------
        folder : of the artifacts; made where it is missing.
        """
        run_id = self._get(name, version).run_id
        try:
            self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in NOT_FOUND:
                raise
            log.warning("MLflow no longer has the run of %s version %s: %s is not kept there", name, version, file)
            return
        self.client.log_artifact(run_id, str(file), folder)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        self.client.set_registered_model_alias(name, alias, str(version))

    def _get(self, name: str, version: int) -> RegisteredVersion:
        try:
            return self.client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code not in NOT_FOUND:
                raise
            raise InputError(f"MLflow has no version {version} of {name}", "`recsae versions` lists them") from error

    def _search(self, name: str, digest: str | None = None, **options: Any) -> list[RegisteredVersion]:
        """All versions of a model, or those of a digest."""
        same = "" if digest is None else f" AND tags.`{DIGEST_TAG}` = '{digest}'"
        return list(self.client.search_model_versions(f"name='{name}'{same}", **options))

    def _metrics(self, version: RegisteredVersion) -> dict[str, float] | None:
        """Metrics that a version keeps; of one that an earlier release registered, those of its run, if it is there."""
        if METRICS_TAG in version.tags:
            return kept_in(version, METRICS_TAG)
        try:
            return of_training(self.client.get_run(version.run_id).data.metrics)
        except MlflowException as error:
            if error.error_code not in NOT_FOUND:
                raise
            return None

    def _aliases(self, name: str) -> dict[int, tuple[str, ...]]:
        """Aliases of a model by version; none of one that is unknown."""
        models = self.client.search_registered_models(f"name='{name}'")
        pairs = [(int(number), alias) for model in models for alias, number in model.aliases.items()]
        return {number: tuple(sorted(alias for of, alias in pairs if of == number)) for number, _ in pairs}

    def _folder_of(self, name: str, version: RegisteredVersion) -> Path:
        return self.cache / (stated_digest(version) or file_name(f"{name}-{version.version}", "A model of MLflow"))

    def _download(self, version: RegisteredVersion, target: Path) -> None:
        download(
            self.client, version.name, int(version.version), kept_in(version, FILES_TAG), stated_digest(version), target
        )

    def _create(
        self,
        name: str,
        source: str,
        run: TrainingRun,
        folder: Path,
        tags: Mapping[str, str],
        model_id: str | None = None,
    ) -> int:
        if not self.client.search_registered_models(f"name='{name}'"):
            self.client.create_registered_model(name)
        data = self.client.get_run(run.run_id).data
        kept = {FILES_TAG: json.dumps(digests_of(folder)), METRICS_TAG: json.dumps(of_training(data.metrics))}
        version = self.client.create_model_version(
            name,
            source,
            run.run_id,
            tags={**tags, **kept},
            description=data.tags.get(MLFLOW_RUN_NOTE),
            model_id=model_id,
        )
        return int(version.version)

    def _intact_version_of(self, name: str, digest: str, weights: Mapping[str, str] | None = None) -> int | None:
        """The first version with these weights (`weights`: of all dictionaries, by file) that MLflow can still give,
        fetched anew; None where there is none.
        """
        for version in sorted(self._search(name, digest), key=lambda version: int(version.version)):
            if weights is not None and weight_files(kept_in(version, FILES_TAG)) != weights:
                continue
            try:
                self._download(version, self._folder_of(name, version))
                return int(version.version)
            except InputError as fault:
                log.warning("%s version %s is registered anew: %s", name, version.version, fault.cause)
        return None
