"""Try the two ends of what setup.py allows: the lowest version of everything it names, and the highest.

    python -m tests.ranges [--end lowest|highest]

For each end uv resolves the versions and installs them, the package, and what the tests need into an environment of its
own. There the tests of what the packages do for us have to pass, and an audit of MovieLens-100K in an empty folder.
Versions are left in ``var/ranges/END.txt``, environments are removed. Needs the package index and some 10 GB of disk.
Ends with 1 if an end failed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VERSIONS = REPOSITORY / "var" / "ranges"
RESOLUTIONS = {"lowest": "lowest-direct", "highest": "highest"}
# What the tests need, in versions that fit: the pins of dev.txt need not.
OF_TESTS = (
    *("pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist"),
    *("hypothesis", "moto[server]", "cryptography", "psutil"),
)
# The tests of what the packages do for us.
TESTS = (
    "tests/config",  # pydantic, pyyaml
    "tests/cli/test_status.py",  # rich
    "tests/platform/spark/test_session.py",  # pyspark on Java
    "tests/platform/warehouse/test_store.py",  # the Iceberg jar, pandas
    "tests/platform/warehouse/test_pyiceberg_rows.py",  # pyiceberg beside the Iceberg jar
    "tests/representations/test_loader.py",  # petastorm, pyarrow, numpy
    "tests/representations/test_object_storage.py",  # petastorm through s3fs and fsspec
    "tests/platform/storage/test_object_store.py",  # boto3: conditional writes
    "tests/platform/tracking/test_registry.py",  # mlflow on SQLite and in S3
    "tests/platform/llm/test_client.py",  # openai, httpx2
    "tests/platform/llm/test_inline_transport.py",  # openai through aiohttp
    "tests/platform/llm/test_answers.py",  # jsonschema
    "tests/recommenders/foreign",  # torch.load of weights, safetensors
    "tests/sae/kernels",  # torch, numba
    "tests/sae/test_store.py",  # safetensors
    "tests/sae/test_plots.py",  # matplotlib
    "tests/concepts/test_association.py",  # scipy
    "tests/verification/test_scores.py",  # scikit-learn
    "tests/ratings/test_scores.py",  # krippendorff
)
# What makes the audit short, and worth nothing.
SHORT = ("recommender.sasrec.epochs=1", "sae.epochs=2", "checks.maximum_fvu=1", "checks.maximum_dead_fraction=1")
AUDIT = ("audit", "--dt", "2026-11-20", *(word for setting in SHORT for word in ("--set", setting)))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.ranges", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--end", choices=sorted(RESOLUTIONS), help="only this one")
    given = parser.parse_args()
    ends = [given.end] if given.end else list(RESOLUTIONS)
    failed = {end: try_end(end) for end in ends}
    for end, step in failed.items():
        print(f"{end}: {f'failed: {step}' if step else 'passed'}")
    return 1 if any(failed.values()) else 0


def try_end(end: str) -> str | None:
    """Install and try one end; return the first step that failed, None if none did."""
    VERSIONS.mkdir(parents=True, exist_ok=True)
    versions = str(VERSIONS / f"{end}.txt")
    with tempfile.TemporaryDirectory(dir=VERSIONS) as folder:
        environment, empty, asked, tested = (
            str(Path(folder) / name) for name in ("env", "empty", "asked.txt", "all.txt")
        )
        Path(empty).mkdir()
        Path(asked).write_text("\n".join(OF_TESTS), "utf-8")
        into = ("--python", f"{environment}/bin/python")
        resolve = ("pip", "compile", "--quiet", "--no-annotate", "--no-header", "--upgrade", *into)
        package = ("setup.py", "--extra", "object-storage", "--resolution", RESOLUTIONS[end])
        here = str(REPOSITORY)
        steps: Sequence[tuple[str, str, Sequence[str]]] = (
            ("an environment", here, uv("venv", "--seed", "--python", sys.executable, environment)),
            ("versions", here, uv(*resolve, *package, "--output-file", versions)),
            ("versions of what tests need", here, uv(*resolve, versions, asked, "--output-file", tested)),
            ("installation", here, uv("pip", "install", *into, "--requirements", tested)),
            ("installation of the package", here, uv("pip", "install", *into, "--no-deps", "--editable", ".")),
            ("tests", here, (f"{environment}/bin/python", "-m", "pytest", "--quiet", *TESTS)),
            ("an audit", empty, (f"{environment}/bin/recsae", *AUDIT)),
        )
        for name, working_folder, command in steps:
            print(f"{end}: {name}", flush=True)
            if run(working_folder, command) != 0:
                return name
            if name == "versions" and end == "lowest" and (unreached := higher_than_asked(Path(versions))):
                return f"setup.py allows less than there can be: {', '.join(unreached)}"
    return None


def uv(*arguments: str) -> tuple[str, ...]:
    """Return the command of the uv beside this Python."""
    return (str(Path(sys.executable).with_name("uv")), *arguments)


def run(folder: str, command: Sequence[str]) -> int:
    """Run a command of an environment in `folder`, with no other Python or Spark in sight."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK"))}
    return subprocess.run(command, cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"}, check=False).returncode


def higher_than_asked(versions: Path) -> list[str]:
    """Return what was resolved above the floor that setup.py gives it: a floor that nobody can have was not tried."""
    found = dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", versions.read_text("utf-8"), re.M))
    floors = re.findall(r'^ {4}"([\w-]+)(?:\[.*\])?[>=]=([\w.]+)', (REPOSITORY / "setup.py").read_text("utf-8"), re.M)
    return [
        f"{name} {floor}, lowest {found[name]}"
        for name, floor in floors
        if name in found and _numbers(found[name]) != _numbers(floor)
    ]


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version without the zeros at its end."""
    return [int(number) for number in re.sub(r"(\.0)+$", "", version).split(".")]


if __name__ == "__main__":
    sys.exit(main())
