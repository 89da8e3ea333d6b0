"""Write the locks of ``conf/requirements``: every package that the pins bring, with the hashes of its files.

    python -m tests.ranges.lock

A version that is in a lock already stays as long as the pins allow it. A lock is for every Python of the suite and
every platform; the markers say which line is for which.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIREMENTS = REPOSITORY / "conf" / "requirements"
LOCKED, TORCH, AIRFLOW = (REQUIREMENTS / f"locked{name}.txt" for name in ("", "-torch", "-airflow"))
SUITE = ("conf/requirements/base.txt", "conf/requirements/dev.txt", "setup.py", "--extra", "object-storage")
UV = (str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal", "--generate-hashes")

HEAD = "# Written by `make lock`. {}\n"
WHAT = {
    LOCKED: "Every package of .venv with the hashes of its files; torch has a lock of its own.",
    TORCH: "torch as the Python package index has it, and its libraries for GPUs.",
    AIRFLOW: "Every package of .venv-airflow with the hashes of its files.",
}
# torch and what it needs for GPUs, which a build for processors does not have.
OF_TORCH = re.compile(r"(torch|triton|nvidia-[^=]*|cuda-[^=]*)==")


def entries(lock: str) -> list[str]:
    """Cut a lock into its packages: a line ``name==version ; marker``, then a line for each hash."""
    return re.findall(r"^\w.*\n(?: .*\n)*", lock, re.M)


def main() -> None:
    kept = "".join(path.read_text("utf-8") for path in (LOCKED, TORCH) if path.is_file())
    suite = _resolve("3.10", SUITE, kept)
    _write(LOCKED, [entry for entry in suite if not OF_TORCH.match(entry)])
    _write(TORCH, [entry for entry in suite if OF_TORCH.match(entry)])
    kept = AIRFLOW.read_text("utf-8") if AIRFLOW.is_file() else ""
    _write(AIRFLOW, _resolve("3.11", ("conf/requirements/airflow.txt",), kept))


def _resolve(lowest_python: str, asked: Sequence[str], kept: str) -> list[str]:
    """Resolve requirements for `lowest_python` and later; versions in the lock `kept` are preferred."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock.txt"
        lock.write_text(kept, "utf-8")
        options = ("--python-version", lowest_python, "--no-annotate", "--no-header", "--output-file", str(lock))
        subprocess.run([*UV, *options, *asked], cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
        return entries(lock.read_text("utf-8"))


def _write(lock: Path, packages: Sequence[str]) -> None:
    lock.write_text(HEAD.format(WHAT[lock]) + "".join(packages), "utf-8")


if __name__ == "__main__":
    main()
