"""Every job of a night killed at the first thing that it writes.

Each start goes on from the jobs that are done, and is killed, with its JVM and its Python workers, in the one after
them; the last start must come to the tables of the undisturbed night.
"""

from __future__ import annotations

from recsae_lib.platform.job.jobs import AUDIT_JOBS
from tests.faults.nights import Nights, Run
from tests.kills import kill_within


def inject(nights: Nights) -> list[str]:
    night = nights.night("jobs")
    for job in AUDIT_JOBS:
        kill_within(night, job.name, "audit")
        print(f"  killed: {job.name}", flush=True)
    Run(night).finish()
    return nights.differences(night)
