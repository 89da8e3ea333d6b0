"""What somebody may write who can write to MLflow, and no more: it moves no file, and brings none in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.tracking.model_files import digests_of
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.relocation import refuse_misplaced_artifacts
from recsae_lib.platform.tracking.version_tags import DIGEST_TAG, FILES_TAG
from tests.stored_models import write_stored
from tests.workspace import write_mlflow_database

NAME = "recommender-shop"
HOSTILE = (
    *(
        "../../site/yaml",
        "/tmp/site",
        "a/b",
        "..",
        ".",
        "",
        "con",
        "\x00",
        "0" * 64 + "\n",
        "0" * 63,
        "0" * 65,
        "A" * 64,
    ),
    *("\uff10" * 64, "0" * 63 + "\u2215", "0" * 63 + "\u202e", "x" * 100_000),
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """With version 1 of a model, whose files nobody has fetched."""
    write_mlflow_database(tmp_path / "mlflow.db")
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"), tmp_path / "work" / "models")
    with registry.training_run("shop", {"job": "train"}, {}) as run:
        digest = write_stored(tmp_path / "stored", "weights")
        registry.register_recommender(run, NAME, tmp_path / "stored", digest, {})
    return registry


def stored(registry: Registry) -> Path:
    return Path(registry.client.get_model_version(NAME, "1").source.removeprefix("file://"))


def everything(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if "mlflow.db" not in path.name}


def test_a_tag_with_slashes_moves_no_file(registry: Registry, tmp_path: Path) -> None:
    """As it was done: the files of a version, a module among them, land in a folder that Python imports from."""
    (stored(registry) / "yaml.py").write_text("raise SystemExit('code of a stranger')", encoding="utf-8")
    (tmp_path / "site").mkdir()
    files = json.dumps(digests_of(stored(registry)))
    registry.set_tags(NAME, 1, {DIGEST_TAG: "../../site/attack", FILES_TAG: files})
    before = everything(tmp_path)
    with pytest.raises(
        InputError, match=r"tag recsae\.weights_sha256 of recommender-shop version 1 is '\.\./\.\./site"
    ):
        registry.fetch(NAME, 1)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("digest", HOSTILE, ids=range(len(HOSTILE)))
def test_only_a_sha256_is_a_digest(registry: Registry, tmp_path: Path, digest: str) -> None:
    version = registry.client.get_model_version(NAME, "1")
    version.tags[DIGEST_TAG] = digest  # not every backend takes each of them
    registry.client.get_model_version = lambda *_: version  # type: ignore[method-assign]
    before = everything(tmp_path)
    with pytest.raises(InputError, match="no SHA-256") as refusal:
        registry.fetch(NAME, 1)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 400
    assert everything(tmp_path) == before


@pytest.mark.parametrize("keeps_files", [True, False])
def test_the_digest_of_what_was_fetched_is_compared(registry: Registry, tmp_path: Path, keeps_files: bool) -> None:
    other = hashlib.sha256(b"other weights").hexdigest()
    registry.set_tags(NAME, 1, {DIGEST_TAG: other})
    if not keeps_files:  # as an earlier release registered it
        registry.client.delete_model_version_tag(NAME, "1", FILES_TAG)
    with pytest.raises(InputError, match=f"the version states {other}"):
        registry.fetch(NAME, 1)
    assert not (tmp_path / "work" / "models" / other).exists()


def test_a_file_of_an_odd_name_is_refused(registry: Registry) -> None:
    registry.client.delete_model_version_tag(NAME, "1", FILES_TAG)
    (stored(registry) / "a;b").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"A file of MLflow's is 'a;b'"):
        registry.fetch(NAME, 1)


def test_changed_weights_do_not_pass_without_their_list(registry: Registry) -> None:
    registry.client.delete_model_version_tag(NAME, "1", FILES_TAG)
    (stored(registry) / "weights.safetensors").write_text("changed", encoding="utf-8")
    with pytest.raises(InputError, match="their digest is"):
        registry.fetch(NAME, 1)


def test_a_file_that_was_not_registered_is_refused(registry: Registry) -> None:
    (stored(registry) / "yaml.py").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"yaml\.py was not among them"):
        registry.fetch(NAME, 1)


def test_a_link_among_the_files_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.client.delete_model_version_tag(NAME, "1", FILES_TAG)
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (stored(registry) / "notes").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="cannot be fetched") as refusal:
        registry.fetch(NAME, 1)
    assert "outside the artifact" in str(refusal.value.__cause__)  # a long path cuts what the message says of it


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/latest/meta-data",
        "ftp://elsewhere/model",
        "mlflow-artifacts://elsewhere:5000/1/model",
        "file:///srv/models/%2e%2e/%2e%2e/etc",
        "s3://models/a?versionId=1",
    ],
)
def test_a_source_at_any_server_is_not_fetched(registry: Registry, source: str) -> None:
    registry.client.get_model_version_download_uri = lambda *_: source  # type: ignore[method-assign]
    with pytest.raises(InputError, match="The place of the files of recommender-shop version 1 is"):
        registry.fetch(NAME, 1)


def test_the_name_of_an_experiment_leads_nowhere_else(registry: Registry, tmp_path: Path) -> None:
    address, artifacts = f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "artifacts").as_uri()
    old = tmp_path / "elsewhere" / ".." / ".." / "taken"
    registry.client.create_experiment("../../taken", artifact_location=f"{tmp_path}/elsewhere/../../taken")
    assert not old.exists()
    (tmp_path.parent / "taken").mkdir()
    (tmp_path / "elsewhere").mkdir()
    refuse_misplaced_artifacts(address, artifacts)  # finds nothing to bring along
