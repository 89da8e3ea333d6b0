from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.relocation import relocate_artifacts
from tests.stored_models import write_stored
from tests.workspace import write_mlflow_database

EXAMPLE = np.zeros((2, 4), dtype=np.float32)


def open_registry(folder: Path) -> Registry:
    return Registry(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), folder / "models")


def register(registry: Registry, folder: Path, content: str) -> tuple[int, int]:
    digests = [write_stored(folder / name, f"{name} {content}") for name in ("recommender", "sae")]
    with registry.training_run("shop", {"job": "train"}, {}) as run:
        plain = registry.register_recommender(run, "recommender-shop", folder / "recommender", digests[0], {})
        sae = registry.register_sae(run, "recsae-shop", folder / "sae", digests[1], EXAMPLE, {})
    return plain, sae


def test_a_copied_database_is_refused_then_its_own(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    write_mlflow_database(original / "mlflow.db")
    assert register(open_registry(original), tmp_path, "first") == (1, 1)
    shutil.copytree(original, copy)
    with pytest.raises(InputError, match=r"was copied or moved: the artifacts of shop .*recsae relocate"):
        open_registry(copy)
    place = f"sqlite:///{copy}/mlflow.db", (copy / "artifacts").as_uri()
    old, new = ((folder / "artifacts").as_uri() + "/shop" for folder in (original, copy))
    assert list(relocate_artifacts(*place)) == [f"MLflow, shop: artifacts were at {old}, are at {new}"]
    assert list(relocate_artifacts(*place)) == []
    registry = open_registry(copy)
    assert register(registry, tmp_path, "second") == (2, 2)
    assert [version.number for version in open_registry(original).versions("recsae-shop")] == [1]
    shutil.rmtree(original)
    registry = open_registry(copy)
    for name, version, content in (
        ("recommender-shop", 1, "recommender first"),
        ("recommender-shop", 2, "recommender second"),
        ("recsae-shop", 1, "sae first"),
        ("recsae-shop", 2, "sae second"),
    ):
        assert (registry.fetch(name, version) / "weights.safetensors").read_text(encoding="utf-8") == content


def test_artifacts_that_stay_elsewhere_are_no_copy(tmp_path: Path) -> None:
    write_mlflow_database(tmp_path / "mlflow.db")
    register(open_registry(tmp_path), tmp_path, "first")
    # The setting names another place now; experiments that are there keep theirs.
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "other"), tmp_path / "models")
    assert registry.fetch("recommender-shop", 1).is_dir()
