"""Executors are killed, one every minute or so, on a Spark cluster of two of them.

Spark runs their tasks elsewhere; where it gives up, the audit is started again, and readers must see the first audit of
the date, made before its data changed. The night must come to the tables of one on one machine that nothing disturbed.
"""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.nights import FaultError, Nights, Run, check_failed, differences
from tests.workspace import REPOSITORY, Workspace, own_spark_home

EXECUTORS, EXECUTOR_MIB = 2, 1024
SECONDS_BETWEEN_KILLS = (30.0, 70.0)
MOST_STARTS = 6
EXECUTOR = "CoarseGrainedExecutorBackend"


def inject(nights: Nights) -> list[str]:
    draw = random.Random(nights.seed)
    audits, night = nights.undisturbed, nights.second_night("executors")
    properties, home = write_properties(night), own_spark_home(night.folder)
    kills, starts = 0, 0
    while True:
        starts += 1
        run = Run(night, [f"spark.properties={properties}", f"paths.bulk={night.folder}/var/bulk"], environment(home))
        while True:
            try:
                code = run.process.wait(draw.uniform(*SECONDS_BETWEEN_KILLS))
                break
            except subprocess.TimeoutExpired:
                if kill_an_executor(run, draw):
                    kills += 1
                    print(f"  executor {kills} killed: {run.job}", flush=True)
        if code == 0:
            break
        print(f"  ended with {code} in {run.job}, start {starts + 1}", flush=True)
        check_failed(night, audits)
        if starts == MOST_STARTS:
            raise FaultError(f"{starts} starts did not suffice:\n{run.log()}")
    if not kills:
        raise FaultError("there was no executor to kill")
    print(f"  {kills} executors killed, {starts} starts", flush=True)
    return differences(night, audits)


def kill_an_executor(run: Run, draw: random.Random) -> bool:
    """SIGKILL one of the executors with its Python workers; False where there is none."""
    found = [process for process in psutil.Process(run.process.pid).children(recursive=True) if is_executor(process)]
    if not found:
        return False
    executor = draw.choice(sorted(found, key=lambda process: process.pid))
    with suppress(psutil.NoSuchProcess):
        for process in [executor, *executor.children(recursive=True)]:
            process.kill()
    return True


def is_executor(process: psutil.Process) -> bool:
    """Whether it is the JVM of an executor; processes end, or wait for their parent to notice, while one looks."""
    try:
        return any(EXECUTOR in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def write_properties(night: Workspace) -> Path:
    """Spark properties of a cluster on this machine: a master, and executors that are processes."""
    lines = (REPOSITORY / "conf" / "spark" / "local.conf").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("spark.master")]
    path = night.folder / "cluster.conf"
    path.write_text(
        "\n".join(
            [
                *kept,
                f"spark.master local-cluster[{EXECUTORS},1,{EXECUTOR_MIB}]",
                f"spark.executor.memory {EXECUTOR_MIB}m",
                "spark.deploy.maxExecutorRetries -1",
                f"spark.pyspark.python {sys.executable}",
            ]
        ),
        encoding="utf-8",
    )
    return path


def environment(home: Path) -> dict[str, str]:
    """Where executors keep their files, and where they find the suite."""
    return {"SPARK_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
