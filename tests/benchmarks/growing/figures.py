"""What the jobs of the growth benchmark took: as rows of a table, as figures, and as exponents between two sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.growing.event_log import LargestTask, Work
from tests.benchmarks.growing.processes import PARTS, Part
from tests.benchmarks.growing.world import Size, count_name
from tests.benchmarks.harness import Figure

HEADS = ["job", "users", "s", "CPU s", *(f"{part}, GiB" for part in PARTS), "shuffled, MiB", "spilled, MiB", "rows"]
HEADS += ["longest task, s", "of its stage", "heaviest task, MiB", "of its stage"]


@dataclass(frozen=True)
class Measured:
    """What one job took at one size.

    Parameters
    ----------
    seconds : wall time of its work.
    cpu_seconds : of all its processes.
    gib : of each part.
    rows : that its stages and workers wrote.
    work : what the event log says.
    """

    seconds: float
    cpu_seconds: float
    gib: Mapping[Part, float]
    rows: int
    work: Work


Jobs = Mapping[str, Measured]  # by name, in the order of an audit


def write_measured(path: Path, jobs: Jobs) -> None:
    """Write what was measured so far."""
    path.write_text(json.dumps({name: asdict(found) for name, found in jobs.items()}, indent=1), encoding="utf-8")


def read_measured(path: Path) -> dict[str, Measured]:
    """Read what `write_measured` wrote; nothing where there is no such file."""
    if not path.exists():
        return {}
    found = {}
    for name, one in json.loads(path.read_text(encoding="utf-8")).items():
        work = one.pop("work")
        longest, heaviest = LargestTask(**work["longest"]), LargestTask(**work["heaviest"])
        found[name] = Measured(**one, work=Work(work["shuffled"], work["spilled"], longest, heaviest))
    return found


def exponent(taken: float, then: float, users: int, more: int) -> float:
    """The e of t ~ users^e through two sizes: log(t₂ / t₁) / log(n₂ / n₁)."""
    return math.log(then / taken) / math.log(more / users)


def line_of(size: Size, job: str, found: Measured) -> str:
    """What one job took, as a row of the table."""
    seconds = [f"{one:.0f}" for one in (found.seconds, found.cpu_seconds)]
    memory = [f"{found.gib[part]:.2f}" for part in PARTS]
    moved = [f"{count / 2**20:,.0f}" for count in (found.work.shuffled, found.work.spilled)]
    longest, heaviest = found.work.longest, found.work.heaviest
    cells = [job, count_name(size.users), *seconds, *memory, *moved, f"{found.rows:,}"]
    cells += [f"{longest.amount:.1f}", _share(longest), f"{heaviest.amount / 2**20:,.1f}", _share(heaviest)]
    return _row(cells)


def report(measured: Mapping[Size, Jobs]) -> list[str]:
    """The table job by job, and the exponents from each size to the next."""
    lines = [_row(HEADS), _row(["---"] * len(HEADS))]
    for job in next(iter(measured.values())):
        lines += [line_of(size, job, found[job]) for size, found in measured.items()]
    return lines + [f"{figure.name}: {figure.value:.2f}" for figure in exponents_of(measured)]


def figures_of(measured: Mapping[Size, Jobs]) -> list[Figure]:
    """Everything as figures: a name is job, users, what."""
    figures = []
    for size, found in measured.items():
        for job, one in found.items():
            name = f"{job}, {count_name(size.users)} users"
            longest, heaviest = one.work.longest, one.work.heaviest
            figures += [
                Figure(f"{name}: time", one.seconds, "s"),
                Figure(f"{name}: processor time", one.cpu_seconds, "s"),
                *(Figure(f"{name}: {part}", one.gib[part], "GiB") for part in PARTS),
                Figure(f"{name}: shuffled", one.work.shuffled / 2**20, "MiB"),
                Figure(f"{name}: spilled", one.work.spilled / 2**20, "MiB"),
                Figure(f"{name}: rows written", one.rows, "rows"),
                Figure(f"{name}: longest task", longest.amount, "s", conditions=longest.stage),
                Figure(f"{name}: its share of its stage", longest.share, "", conditions=longest.stage),
                Figure(f"{name}: heaviest task", heaviest.amount / 2**20, "MiB", conditions=heaviest.stage),
                Figure(f"{name}: its share of its stage's reads", heaviest.share, "", conditions=heaviest.stage),
            ]
    return figures + exponents_of(measured)


def exponents_of(measured: Mapping[Size, Jobs]) -> list[Figure]:
    """From each size to the next, of wall and of processor time; the start of Python, Java and Spark is in both."""
    figures = []
    for (size, found), (larger, then) in pairwise(measured.items()):
        for job, one in found.items():
            name, sizes = f"{job}, {count_name(size.users)} to {count_name(larger.users)}", (size.users, larger.users)
            wall = exponent(one.seconds, then[job].seconds, *sizes)
            cpu = exponent(one.cpu_seconds, then[job].cpu_seconds, *sizes)
            figures += [Figure(f"{name}: exponent of time", wall, ""), Figure(f"{name}: of processor time", cpu, "")]
    return figures


def _share(task: LargestTask) -> str:
    return f"{task.share:.0%} of {task.tasks}, {task.stage}" if task.tasks else "none"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
