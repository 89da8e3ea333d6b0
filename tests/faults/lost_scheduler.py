"""Airflow's scheduler is killed in the middle of a night, with all that it runs.

`local_airflow.py night` must end and say so, and readers must see the first audit of the date, made before its data
changed; started again, it gives up what was left behind, and the night must come to the tables of one that nothing
disturbed. Nights of Airflow train only what is missing, so that this one has the models of the first audit. Needs
`.venv-airflow` (`make install-airflow`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil

from tests.faults.nights import (
    LONGEST_NIGHT_SECONDS,
    SECOND,
    FaultError,
    Nights,
    audit_of,
    check_failed,
    differences,
)
from tests.workspace import DT, REPOSITORY, Workspace

AIRFLOW = REPOSITORY / ".venv-airflow" / "bin" / "python"
JOBS = ("ingest_dataset", "extract_representations", "compute_concept_terms")


def inject(nights: Nights) -> list[str]:
    if not AIRFLOW.exists():
        raise FaultError(f"there is no {AIRFLOW}; `make install-airflow` makes it")
    whole, night = nights.second_night("scheduler-stays"), nights.second_night("scheduler")
    finish(whole)
    audits = {**nights.undisturbed, SECOND: audit_of(whole)}
    for job in JOBS:
        process = start(night)
        record = night.folder / "var" / "jobs" / "planted.jsonl"
        before = record.read_text(encoding="utf-8").count(f'"{job}"') if record.exists() else 0
        while not record.exists() or record.read_text(encoding="utf-8").count(f'"{job}"') <= before:
            if process.poll() is not None:
                raise FaultError(f"the night ended before {job}; see {night.folder}/night.log")
            time.sleep(0.1)
        kill_scheduler(process)
        code = process.wait(120)
        print(f"  scheduler killed in {job}: the night ended with {code}", flush=True)
        if code != 2:
            raise FaultError(f"it should have ended with 2; see {night.folder}/night.log")
        check_failed(night, audits)
    finish(night)
    return differences(night, audits)


def finish(night: Workspace) -> None:
    """Start the night, which must be published."""
    if code := start(night).wait(LONGEST_NIGHT_SECONDS):
        raise FaultError(f"the night ended with {code}: {(night.folder / 'night.log').read_text()}")


def start(night: Workspace) -> subprocess.Popen[bytes]:
    """Start the night in an Airflow of its own."""
    wiring = REPOSITORY / "airflow_dags" / "local_airflow.py"
    arguments = ["night", "--conf", "conf/planted.yaml", "--dt", DT.isoformat(), "--python", sys.executable]
    with (night.folder / "night.log").open("ab") as log:
        return subprocess.Popen([str(AIRFLOW), str(wiring), *arguments], cwd=night.folder, stdout=log, stderr=log)


def kill_scheduler(night: subprocess.Popen[bytes]) -> None:
    """SIGKILL the scheduler with the workers and the jobs that it started, sessions of their own included."""
    schedulers = [
        process
        for process in psutil.Process(night.pid).children()
        if process.cmdline()[-2:] == ["airflow", "scheduler"]
    ]
    if len(schedulers) != 1:
        raise FaultError(f"there are {len(schedulers)} schedulers")
    for process in [schedulers[0], *schedulers[0].children(recursive=True)]:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
