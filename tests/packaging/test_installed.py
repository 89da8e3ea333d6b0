"""The wheel in an environment of its own, used from an empty folder: what `pip install` gives a person."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from recsae_lib import __version__
from tests.workspace import REPOSITORY

pytestmark = pytest.mark.integration

ENVIRONMENT = REPOSITORY / ".venv-wheel"
SOURCES = ("recsae_lib", "jobs", "conf", "setup.py", "README.md")
# What makes the audit of MovieLens-100K short, and worth nothing.
SHORT = ["recommender.sasrec.epochs=1", "sae.epochs=2", "checks.maximum_fvu=1", "checks.maximum_dead_fraction=1"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: an older build beside the checkout would be packed with it."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:
        source, target = REPOSITORY / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    pip(folder, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing in it, beside an environment that has the wheel."""
    pip(wheel.parent, "install", "--no-deps", "--force-reinstall", str(wheel))
    return tmp_path_factory.mktemp("empty")


def pip(folder: Path, *arguments: str) -> None:
    done = run(folder, "python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment in a folder; nothing of the checkout is on its path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK"))}
    command = [str(ENVIRONMENT / "bin" / program), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_brings_what_the_suite_reads(wheel: Path) -> None:
    assert wheel.name.startswith(f"recsae-{__version__}-")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"recsae_lib", "recsae_jobs", "recsae_conf", f"recsae-{__version__}.dist-info"}
    brought = {path.relative_to(REPOSITORY / "conf").as_posix() for path in (REPOSITORY / "conf").rglob("*.*")}
    read = {f"recsae_conf/{name}" for name in brought if not name.startswith(("requirements", "__pycache__", "README"))}
    assert read <= set(names)
    assert "recsae_conf/ml_1m.yaml" in names
    assert {"recsae_lib/METHOD.md", "recsae_lib/py.typed", "recsae_lib/ratings/page.html"} <= set(names)


def test_an_audit_from_an_empty_folder(empty_folder: Path) -> None:
    def recsae(*arguments: str) -> str:
        done = run(empty_folder, "recsae", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert recsae("--version") == f"recsae {__version__}\n"
    assert "audit" in recsae("--help")
    recsae("init", "shop")
    settings = [word for setting in SHORT for word in ("--set", setting)]
    summary = recsae("audit", "--conf", "shop/recsae.yaml", "--dt", "2026-11-20", *settings)
    assert "SASRec" in summary or "sasrec" in summary
    counted = recsae("sql", "--format", "csv", "SELECT count(*) AS n FROM interactions")
    assert counted.split() == ["n", "100000"]
    assert recsae("sql", "--saved", "what_does_the_model_know")
    assert {path.name for path in empty_folder.iterdir()} == {"shop", "var"}
