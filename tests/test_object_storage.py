"""The storage of the tests: each use of it is alone, whoever used it before in this process."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import fsspec
import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tests.object_storage import object_storage


def names_in(address: str) -> dict[str, list[str]]:
    """What each client sees in a bucket."""
    bucket = address.removeprefix("s3://")
    return {
        "boto3": [found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])],
        "fsspec": [path.removeprefix(f"{bucket}/") for path in fsspec.filesystem("s3").find(bucket)],
        "mlflow": [file.path for file in get_artifact_repository(address).list_artifacts()],
    }


def test_a_bucket_is_empty_each_time_for_every_client(tmp_path: Path) -> None:
    (tmp_path / "written").touch()
    for _ in range(2):
        with object_storage("twice") as address:
            assert names_in(address) == {"boto3": [], "fsspec": [], "mlflow": []}
            get_artifact_repository(address).log_artifact(str(tmp_path / "written"))
            fsspec.filesystem("s3").invalidate_cache()
            assert names_in(address) == {"boto3": ["written"], "fsspec": ["written"], "mlflow": ["written"]}


def test_one_within_another_leaves_it_as_it_was() -> None:
    with object_storage("nested") as outer:
        fsspec.filesystem("s3").touch(f"{outer}/written")
        with object_storage("nested") as inner:
            assert names_in(inner)["boto3"] == []
        assert names_in(outer)["boto3"] == ["written"]


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of a developer")
    before = dict(os.environ)
    with object_storage("restored"):
        assert "AWS_PROFILE" not in os.environ
    assert dict(os.environ) == before
