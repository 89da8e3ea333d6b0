"""The disk is full in the middle of a night: a small file system of its own, filled to the last block.

It happens to the second audit of a date, whose data have changed. That must end with one line about the full disk, and
readers and main must keep the first one; with room again, it must come to the tables of an undisturbed night. Needs the
right to mount a tmpfs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.nights import FaultError, Nights, Run, change_data, check_failed, differences
from tests.workspace import write_mlflow_database

MIB = 2**20
SIZE_MIB = 512
JOBS = (
    "ingest_dataset",
    "train_recommender",
    "extract_representations",
    "train_sae",
    "verify_concepts",
    "publish_audit",
)


def inject(nights: Nights) -> list[str]:
    audits, night = nights.undisturbed, nights.night("full")
    var = night.folder / "var"
    with small_file_system(var):
        write_mlflow_database(var / "mlflow" / "mlflow.db")
        Run(night).finish()
        change_data(night)
        for job in JOBS:
            run = Run(night)
            run.wait_for(job)
            keep_full(var / "filler", run)
            print(f"  full in {job}, noticed in {run.job}", flush=True)
            run.must_fail(2, "No space left on device|disk is full")
            (var / "filler").unlink()
            check_failed(night, audits)
        Run(night).finish()
        return differences(night, audits)


@contextmanager
def small_file_system(folder: Path) -> Iterator[None]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        raise FaultError(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def keep_full(filler: Path, run: Run) -> None:
    """Take every block that is left, and those that the audit gives back, until it ends."""
    with filler.open("ab", buffering=0) as file:
        while run.process.poll() is None:
            try:
                file.write(b"\0" * MIB)
            except OSError:
                time.sleep(0.01)
