"""What the faults share: an undisturbed night of the planted data set, nights to disturb, and what has to be equal."""

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
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse import tables
from tests.workspace import DT, Workspace, different_tables, open_workspace

ARGUMENTS = ("audit", "--conf", "conf/planted.yaml")
LONGEST_NIGHT_SECONDS = 1800


class FaultError(Exception):
    """A night that did not go as it must."""


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

    @cached_property
    def undisturbed(self) -> tuple[dict[str, list[tuple[Any, ...]]], float]:
        """Tables of a night that nothing disturbed, and the seconds it took."""
        night = self.night("undisturbed")
        started = time.monotonic()
        Run(night).finish()
        seconds = time.monotonic() - started
        print(f"undisturbed night: {seconds:.0f} s", flush=True)
        return night.published(), seconds

    def differences(self, night: Workspace, expected: dict[str, Any] | None = None) -> list[str]:
        """Tables that are not those of an undisturbed night; ``audits`` if there is not one published audit."""
        differing = different_tables(self.undisturbed[0] if expected is None else expected, night.published())
        if [row[3] for row in night.rows(tables.AUDITS)] != ["published"]:
            differing.append("audits")
        return differing


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
        """Wait for the end, which must be this one, with a last line that holds `saying`, and nothing on main."""
        code = self.process.wait(LONGEST_NIGHT_SECONDS)
        last = self.log().strip().rpartition("\n")[2]
        print(f"  ended with {code}: {last}", flush=True)
        # (MLflow logs tracebacks of its own where its database is full.)
        if code != exit_code or not re.search(f"^recsae: .*({saying})", last):
            raise FaultError(f"it should have ended with {exit_code} and one line about {saying!r}:\n{self.log()}")
        if self.night.warehouse().exists(tables.AUDITS) and self.night.rows(tables.AUDITS):
            raise FaultError("an audit that failed has a row in audits")

    def kill(self) -> None:
        """Kill it with all that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
