"""Every job of a night killed at the first thing that it writes, and publication also later.

Each start goes on from the jobs that are done, and is killed, with its JVM and its Python workers, in the one after
them. At every kill readers must see the whole audit before, or, once its row is in audits, this one. So goes a first
audit, and then another one of the same date with changed data. Each must come to the tables of the undisturbed one.
"""

from __future__ import annotations

from collections.abc import Mapping

from recsae_lib.platform.job.jobs import AUDIT_JOBS
from tests.faults.nights import FIRST, NOTHING, SECOND, Audit, Nights, Run, change_data, check_readers, differences
from tests.kills import FIRST_WRITES, kill_within
from tests.workspace import Workspace

*JOBS, PUBLISH, EXPLORER = [job.name for job in AUDIT_JOBS]
CONCEPTS = ("warehouse/planted/concepts/data", "**/*.parquet")  # are written before all tables are published
THE_ROW = ("warehouse/planted/audits/metadata", "v*.json")  # is being added: the branch for it is there, or it is


def inject(nights: Nights) -> list[str]:
    audits, night = nights.undisturbed, nights.night("jobs")
    wrong = disturb(audits, night, NOTHING, FIRST)
    change_data(night)
    return wrong + disturb(audits, night, FIRST, SECOND)


def disturb(audits: Mapping[str, Audit], night: Workspace, before: str, after: str) -> list[str]:
    """Kill every job of an audit, finish it, and return what differs."""
    for job in JOBS:
        kill(audits, night, job, FIRST_WRITES[job], [before])
    kill(audits, night, PUBLISH, CONCEPTS, [before])
    kill(audits, night, PUBLISH, THE_ROW, [before, after])
    if check_readers(night, audits, [before, after]) == before:  # else there is nothing more to write
        kill(audits, night, PUBLISH, FIRST_WRITES[PUBLISH], [after])
    kill(audits, night, EXPLORER, FIRST_WRITES[EXPLORER], [after])
    Run(night).finish()
    return [f"{what} of {after}" for what in differences(night, audits, after)]


def kill(audits: Mapping[str, Audit], night: Workspace, job: str, write: tuple[str, str], among: list[str]) -> None:
    kill_within(night, job, "audit", write=write)
    print(f"  killed: {job} at {write[0]}; readers see {check_readers(night, audits, among)}", flush=True)
