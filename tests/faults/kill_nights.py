"""Whole nights killed at random moments.

Each night is a process that SIGKILL ends, with its JVM and Python workers, at moments drawn by the seed. At every kill
readers must see one whole audit. Started again after ten of them, the night must come to the rows of the undisturbed
one; then the data change, and the same date is audited and killed again.
"""

from __future__ import annotations

import random
import subprocess

from tests.faults.nights import FIRST, NOTHING, SECOND, Nights, Run, change_data, check_readers, differences
from tests.workspace import Workspace

KILLS_A_NIGHT = 10  # each start goes on from the jobs that are done, so that kills reach all of them
EARLIEST = 4.0  # seconds after the start; before that there is no Spark yet


def inject(nights: Nights) -> list[str]:
    draw = random.Random(nights.seed)
    latest = nights.undisturbed[FIRST].seconds / 2
    kills, wrong = 0, []
    while kills < nights.kills:
        night = nights.night("killed")
        for before, after in ((NOTHING, FIRST), (FIRST, SECOND)):
            if after == SECOND:
                change_data(night)
            for _ in range(min(KILLS_A_NIGHT, nights.kills - kills)):
                kills += 1
                job = kill(night, draw.uniform(EARLIEST, latest))
                seen = check_readers(night, nights.undisturbed, [before, after])
                print(f"kill {kills}: {job}; readers see {seen}", flush=True)
            Run(night).finish()
            differing = differences(night, nights.undisturbed, after)
            print(f"after kill {kills}: {', '.join(differing) or 'the same tables'}", flush=True)
            wrong += [f"{what} after kill {kills}" for what in differing]
    return wrong


def kill(night: Workspace, limit: float) -> str:
    """Kill the audit so many seconds after a start that had as many left; returns the job that it was in.

    One that ends before is started again: it begins anew, on tables that are there already.
    """
    while True:
        run = Run(night)
        try:
            run.process.wait(limit)
        except subprocess.TimeoutExpired:
            run.kill()
            return run.job
        run.finish()
