"""The wheel in an environment of its own, used from an empty folder: what `pip install` gives a person."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from recsae_lib import __version__
from tests.planted import write_planted
from tests.workspace import REPOSITORY

pytestmark = pytest.mark.integration

ENVIRONMENT = REPOSITORY / ".venv-wheel"
SOURCES = ("recsae_lib", "jobs", "conf", "setup.py", "README.md")
# What makes an audit short, and worth nothing.
SHORT = ["recommender.sasrec.epochs=1", "sae.epochs=2", "checks.maximum_fvu=1", "checks.maximum_dead_fraction=1"]
USERS, ITEMS, LENGTH = 200, 96, 12


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
    # Half of the work of a JVM that ends soon is to optimise what it runs.
    environment["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
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


def test_an_audit_from_an_empty_folder(empty_folder: Path, tmp_path: Path) -> None:
    def recsae(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = run(empty_folder, "recsae", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    assert recsae("--version").stdout == f"recsae {__version__}\n"
    assert "audit" in recsae("--help").stdout
    recsae("init", "shop")
    of_the_example = ["--conf", "shop/recsae.yaml", "--dt", "2026-11-20"]
    assert "100,000 interactions, 1,682 items" in recsae("run", "ingest_dataset", *of_the_example).stderr

    # The rest on data that take less time.
    write_planted(tmp_path, USERS, ITEMS, LENGTH)
    tables = [f"dataset.{table}={tmp_path}/{table}.csv" for table in ("interactions", "items")]
    own = ["namespace=shop", "dataset.format=csv", *tables, *SHORT]
    settings = [word for setting in own for word in ("--set", setting)]
    audited = recsae("audit", *of_the_example, *settings)
    assert "SASRec" in audited.stdout or "sasrec" in audited.stdout
    assert f"{USERS * LENGTH:,} interactions, {ITEMS} items" in audited.stderr
    assert recsae("sql", "--set", "namespace=shop", "--saved", "what_does_the_model_know").stdout
    assert {path.name for path in empty_folder.iterdir()} == {"shop", "var"}
