"""Kill whole nights at random moments and compare what they come to with an undisturbed one.

    python -m tests.faults.kill_nights --kills 50 --seed 1

Each night audits the planted data set in a folder of its own, as a process that SIGKILL ends, with its JVM and Python
workers, at a moment drawn by the seed; started again, it must come to the rows of the undisturbed night, and to one
published audit. Prints a line for each kill and each night; ends with 1 if any table differs.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recsae_lib.spark_session import open_session
from recsae_lib.warehouse import tables
from tests.workspace import DT, REPOSITORY, TINY_QUERIES, Workspace, different_tables, open_workspace

ARGUMENTS = ("audit", "--conf", "conf/planted.yaml", "--dt", DT.isoformat())
KILLS_A_NIGHT = 5
EARLIEST = 4.0  # seconds after the start; before that there is no Spark yet


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_nights", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        spark = open_session(
            "faults",
            REPOSITORY / "conf" / "spark" / "local.conf",
            {"spark.sql.catalog.recsae.warehouse": f"{folder}/warehouse", **TINY_QUERIES},
        )
        whole = open_workspace(spark, Path(folder) / "whole", "whole")
        started = time.monotonic()
        finish(whole)
        seconds = time.monotonic() - started
        expected = whole.published()
        print(f"undisturbed night: {seconds:.0f} s", flush=True)
        kills = wrong = nights = 0
        while kills < given.kills:
            nights += 1
            night = open_workspace(spark, Path(folder) / f"night{nights}", f"night{nights}")
            for _ in range(min(KILLS_A_NIGHT, given.kills - kills)):
                kills += 1
                job = kill(night, draw.uniform(EARLIEST, seconds))
                print(f"kill {kills}: {job}", flush=True)
            finish(night)
            differing = different_tables(expected, night.published())
            if [row[3] for row in night.rows(tables.AUDITS)] != ["published"]:
                differing.append("audits")
            wrong += bool(differing)
            print(f"night {nights}: {', '.join(differing) or 'the same tables'}", flush=True)
        spark.stop()
    print(f"{kills} kills in {nights} nights: {wrong} nights differ")
    return 1 if wrong else 0


def finish(night: Workspace) -> None:
    """Run the audit to its end."""
    done = night.recsae(*ARGUMENTS)
    if done.returncode:
        raise RuntimeError(f"the audit in {night.folder} ended with {done.returncode}:\n{done.stderr}")


def kill(night: Workspace, limit: float) -> str:
    """Kill the audit so many seconds after a start that had as many left; returns the job that it was in.

    One that ends before is started again: it begins anew, on tables that are there already.
    """
    while True:
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "recsae_lib.cli", *ARGUMENTS],
                cwd=night.folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                log.seek(0)
                started = re.findall(r"(\w+): started", log.read())
                return started[-1] if started else "before the first job"
            log.seek(0)
            if process.returncode:
                raise RuntimeError(f"the audit in {night.folder} ended with {process.returncode}:\n{log.read()}")


if __name__ == "__main__":
    sys.exit(main())
