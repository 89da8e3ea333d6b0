"""The files of registered versions: their digests, and local copies that are as they were registered or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient

from recsae_lib.errors import InputError, PassingError, lost_connection
from recsae_lib.platform.remote_names import artifact_address, relative_path
from recsae_lib.platform.storage.files import UNFINISHED, remove_abandoned, sha256_of
from recsae_lib.recommenders import store as recommender_store
from recsae_lib.sae import store as sae_store

REASON_LENGTH = 300  # of what a client library says, which may repeat itself for each file


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder and below, by its path within."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def weight_files(digests: Mapping[str, str]) -> dict[str, str]:
    """Those digests that are of weights of stored SAEs: what a folder holds, whatever is written about it."""
    return {name: digest for name, digest in digests.items() if PurePosixPath(name).name == sae_store.WEIGHTS}


def difference(folder: Path, digests: Mapping[str, str], weights_digest: str | None) -> str | None:
    """Say how the files in a folder differ from those that were registered; None where they do not.

    Parameters
    ----------
    digests : of the files that must be there, and no others (`digests_of`); empty where that is not known.
    weights_digest : that the stored model must have; None where that is not known.
    """
    if not folder.is_dir():
        return "there are none"
    found = digests_of(folder)
    if digests and (further := sorted(found.keys() - digests.keys())):
        return f"{further[0]} was not among them"
    for name, digest in digests.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != digest:
            return f"{name} has another content"
    if weights_digest is not None and weights_digest != (of_files := _weights_digest(folder, found)):
        return f"their digest is {of_files}, and the version states {weights_digest}"
    return None


def _weights_digest(folder: Path, digests: Mapping[str, str]) -> str | None:
    """Digest of the stored model that a folder holds, as it was registered; None where it holds none intact."""
    if sae_store.DESCRIPTION in digests:
        return digests.get(sae_store.WEIGHTS)
    if recommender_store.DESCRIPTION not in digests:
        return None
    stated = recommender_store.file_digests(folder)
    return recommender_store.weights_digest(folder) if stated.items() <= digests.items() else None


def download(
    client: MlflowClient,
    name: str,
    version: int,
    digests: Mapping[str, str],
    weights_digest: str | None,
    target: Path,
) -> None:
    """Fetch the files of a version into a folder, which is replaced by the complete new one or stays as it is.

    Parameters
    ----------
    digests, weights_digest : see `difference`.

    Raises
    ------
    InputError : the files cannot be had, or are not those that were registered.
    PassingError : where they lie does not answer.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    remedy = "Train again: from the same data and settings the same weights come out, and are registered anew"
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-", suffix=UNFINISHED) as staging:
        try:
            stated = client.get_model_version_download_uri(name, str(version))
            source = artifact_address(
                stated, client.tracking_uri, f"The place of the files of {name} version {version}"
            )
            fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=staging))
        except InputError:
            raise
        except Exception as error:  # every kind of storage raises another type
            reason = " ".join(str(error).split())[:REASON_LENGTH]
            if lost_connection(error) is not None:
                raise PassingError(
                    f"The files of {name} version {version} cannot be reached: {reason}", "Run again when they can"
                ) from error
            raise InputError(f"The files of {name} version {version} cannot be fetched: {reason}", remedy) from error
        pyfunc_artifacts = fetched / "artifacts"
        folder = next(pyfunc_artifacts.iterdir(), fetched) if pyfunc_artifacts.is_dir() else fetched
        _refuse_odd_names(folder)
        if (fault := difference(folder, digests, weights_digest)) is not None:
            raise InputError(
                f"The files of {name} version {version} in MLflow are not those that were registered: {fault}", remedy
            )
        if target.is_dir():
            os.replace(target, Path(staging) / "before")
        try:
            os.rename(folder, target)
        except OSError:
            if not target.is_dir():  # else another process was faster, with the same files
                raise


def _refuse_odd_names(folder: Path) -> None:
    for path in folder.rglob("*"):
        relative_path(path.relative_to(folder).as_posix(), "A file of MLflow's")
