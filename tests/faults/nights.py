"""What the faults share: undisturbed nights of the planted data set, nights to disturb, and what has to be equal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path

from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse import tables
from tests.faults.readers import Rows, audit_seen, audits_of_the_past, rows_of_main, seen_by_readers
from tests.planted import add_planted_feature, change_planted
from tests.workspace import DT, Workspace, different_tables, open_workspace

ARGUMENTS = ("audit", "--conf", "conf/planted.yaml")
LONGEST_NIGHT_SECONDS = 1800

# The audits of one date, in their order: readers begin with nothing, then see the planted data, then the changed ones.
NOTHING, FIRST, SECOND = "nothing", "the first audit", "the second audit"
# Empty in both audits: nothing was published before, the recommender is new, no language model is asked.
ALIKE = (
    *("left_out", "concept_drift", "saved query what_changed", "concept_rejects", "interpretation_requests"),
    *("verification_rejects", "verification_requests"),
)


class FaultError(Exception):
    """A night that did not go as it must."""


@dataclass(frozen=True)
class Audit:
    """An audit that nothing disturbed.

    Parameters
    ----------
    seen : what readers see of it.
    main : rows of all tables on main.
    seconds : that it took.
    """

    seen: dict[str, Rows]
    main: dict[str, Rows]
    seconds: float


@dataclass
class Nights:
    """The folder in which nights are disturbed.

    Parameters
    ----------
    folder : one folder a night is made in it.
    kills, seed : how many kills `kill_nights` makes, and what draws their moments.
    """

    spark: SparkSession
    folder: Path
    kills: int
    seed: int
    _made: list[str] = field(default_factory=list)

    def night(self, name: str) -> Workspace:
        """Lay out a night."""
        self._made.append(name)
        return open_workspace(self.spark, self.folder / f"{len(self._made)}-{name}", f"night{len(self._made)}")

    def second_night(self, name: str, settings: Sequence[str] = ()) -> Workspace:
        """Lay out a night whose date has been published once, with data that have changed since."""
        night = self.night(name)
        Run(night, settings).finish()
        change_data(night)
        return night

    @cached_property
    def undisturbed(self) -> dict[str, Audit]:
        """The audits of the date, by their names."""
        return audits_of(self.night("undisturbed"))


def audit_of(night: Workspace, seconds: float = 0.0) -> Audit:
    """What there is to see of a night at this moment, `seconds` after it began."""
    return Audit(seen_by_readers(night), rows_of_main(night), seconds)


def audits_of(
    night: Workspace, settings: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> dict[str, Audit]:
    """Audit the date, and again with changed data; what readers see in the beginning and after each.

    Raises
    ------
    FaultError : two audits cannot be told apart by a table.
    """

    audits = {NOTHING: audit_of(night)}
    for name in (FIRST, SECOND):
        if name == SECOND:
            change_data(night)
        started = time.monotonic()
        Run(night, settings, environment).finish()
        seconds = time.monotonic() - started
        print(f"  undisturbed, {name}: {seconds:.0f} s", flush=True)
        audits[name] = audit_of(night, seconds)
    differing = different_tables(audits[FIRST].seen, audits[SECOND].seen)
    alike = {name for name in audits[FIRST].seen if not name.startswith(ALIKE)} - set(differing)
    if alike:
        raise FaultError(f"the two audits cannot be told apart by {', '.join(sorted(alike))}")
    return audits


def change_data(night: Workspace) -> None:
    """Let the data of the date be others: interactions, items, users, and a row that is refused."""
    data = night.folder / "data"
    change_planted(data, share=0.1, seed=13)
    add_planted_feature(data, "sport")
    with (data / "interactions.csv").open("a", encoding="utf-8") as file:
        file.write("u0,i0,no time\n")


def check_readers(night: Workspace, audits: Mapping[str, Audit], among: Sequence[str] = (FIRST, SECOND)) -> str:
    """Return the name of the audit that readers see at this moment, while nothing runs.

    Parameters
    ----------
    audits : all audits, by their names.
    among : those that they may see.

    Raises
    ------
    FaultError : they see parts of two, or none of these, or `--as-of` shows a past that was not so.
    """
    known = {name: audits[name].seen for name in audits}
    name, wrong = audit_seen(known, seen_by_readers(night))
    past = audits_of_the_past(night, known)
    wrong += [f"{table} as of publication {number}" for number, (_, them) in enumerate(past, 1) for table in them]
    if wrong or name not in among:
        raise FaultError(f"readers see {name}, not {' or '.join(among)}; it is not whole in: {wrong}")
    if name != (past[-1][0] if past else NOTHING):
        raise FaultError(f"readers see {name}; published were {[name for name, _ in past]}")
    return name


def check_failed(night: Workspace, audits: Mapping[str, Audit]) -> None:
    """See that a start of the second audit that failed has changed nothing, unless it had published.

    Raises
    ------
    FaultError : readers see something else, or main holds it.
    """
    name = check_readers(night, audits)
    print(f"  readers see {name}", flush=True)
    if name == FIRST and (wrong := different_tables(rows_of_main(night), audits[FIRST].main)):
        raise FaultError(f"main holds rows of what is not published: {', '.join(wrong)}")


def differences(night: Workspace, audits: Mapping[str, Audit], last: str = SECOND) -> list[str]:
    """What readers see or main holds that is not so where nothing disturbs, and what the lists of audits lack.

    Parameters
    ----------
    audits : all audits, by their names.
    last : what the night must have come to. Starts that had published and were started again published it again.
    """
    wrong = different_tables(seen_by_readers(night), audits[last].seen)
    wrong += [f"main of {table}" for table in different_tables(rows_of_main(night), audits[last].main)]
    past = audits_of_the_past(night, {name: audit.seen for name, audit in audits.items()})
    wrong += [f"{table} as of publication {number}" for number, (_, them) in enumerate(past, 1) for table in them]
    if [name for name, _ in groupby(name for name, _ in past)] != list(audits)[1 : list(audits).index(last) + 1]:
        wrong.append(f"audits ({[name for name, _ in past]})")
    attempts = night.warehouse().read_all(tables.AUDIT_ATTEMPTS).select("status", "publication").collect()
    if sorted(map(tuple, attempts)) != [("published", number + 1) for number in range(len(past))]:
        wrong.append(f"audit_attempts ({attempts})")
    return wrong


class Run:
    """One start of the audit of a night, as a process group with its JVM and Python workers.

    Parameters
    ----------
    night : where.
    settings : each as ``a.b=value``.
    environment : variables over those of this process.
    dt : date of the audit.
    """

    def __init__(
        self,
        night: Workspace,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        dt: date = DT,
    ) -> None:
        self.night = night
        self._log = night.folder / f"start{len(list(night.folder.glob('start*.log'))) + 1}.log"
        overrides = [word for setting in settings for word in ("--set", setting)]
        with self._log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recsae_lib.cli", *ARGUMENTS, "--dt", dt.isoformat(), *overrides],
                cwd=night.folder,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8")

    @property
    def job(self) -> str:
        """The job that it is in."""
        started = re.findall(r"(\w+): started", self.log())
        return started[-1] if started else "before the first job"

    def wait_for(self, job: str) -> None:
        """Return when a job has started."""
        ends = time.monotonic() + LONGEST_NIGHT_SECONDS
        while f"{job}: started" not in self.log():
            if self.process.poll() is not None or time.monotonic() > ends:
                raise FaultError(f"{job} was not reached:\n{self.log()}")
            time.sleep(0.1)

    def finish(self) -> None:
        """Wait for the end, which must be a published audit."""
        if self.process.wait(LONGEST_NIGHT_SECONDS):
            raise FaultError(f"the audit in {self.night.folder} ended with {self.process.returncode}:\n{self.log()}")

    def must_fail(self, exit_code: int, saying: str) -> None:
        """Wait for the end, which must be this one, with a last line that holds `saying`."""
        code = self.process.wait(LONGEST_NIGHT_SECONDS)
        last = self.log().strip().rpartition("\n")[2]
        print(f"  ended with {code}: {last}", flush=True)
        # (MLflow logs tracebacks of its own where its database is full.)
        if code != exit_code or not re.search(f"^recsae: .*({saying})", last):
            raise FaultError(f"it should have ended with {exit_code} and one line about {saying!r}:\n{self.log()}")

    def kill(self) -> None:
        """Kill it with all that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
