"""What became of each run of a job: one line of JSON in ``<paths.var>/jobs/<namespace>.jsonl``."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Literal

from recsae_lib.platform.job.jobs import AUDIT_JOBS

Outcome = Literal["running", "done", "failed", "bad input", "check failed", "stopped", "unfinished"]
JOB_RECORD = "job_record"  # attribute of the log record that tells of a job's end
CAUSE_LENGTH = 2000  # a line that is written in one piece may not be long

log = logging.getLogger("recsae")


@dataclass(frozen=True)
class JobRecord:
    """One run of a job.

    Parameters
    ----------
    job, namespace, dt : what ran.
    started_at : ISO 8601, UTC.
    seconds : wall time.
    outcome : how it ended; running if it has not, or was killed.
    cause : the line that says why, where it did not end well.
    model_version, sae_version : that it worked with; None where it needed none.
    rows_in, rows_out, bytes_in, bytes_out : of Spark's stages (`Traffic`).
    """

    job: str
    namespace: str
    dt: str
    started_at: str
    seconds: float = 0.0
    outcome: Outcome = "running"
    cause: str = ""
    model_version: int | None = None
    sae_version: int | None = None
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def append_to(self, var: Path) -> None:
        """Append the line, in one write: jobs of other nights may append at the same moment."""
        content = {**asdict(self), "cause": self.cause[:CAUSE_LENGTH]}
        path = log_path(var, self.namespace)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(content, ensure_ascii=False) + "\n").encode()
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)


class JsonLines(logging.Formatter):
    """Log records as JSON objects: time (ISO 8601, UTC), level, message; of a job's end also all of `JobRecord`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        content = {"time": time, "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**content, **getattr(record, JOB_RECORD, {})}, ensure_ascii=False)


def log_to_stderr(log_format: str) -> None:
    """Send warnings of all libraries, and what `log` says, to standard error: as text, or as `JsonLines`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if log_format == "json" else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)


@dataclass(frozen=True)
class Night:
    """The latest run of each job for one date."""

    dt: date
    jobs: dict[str, JobRecord]

    @property
    def seconds(self) -> float:
        """Wall time of those runs together."""
        return sum(record.seconds for record in self.jobs.values())

    def state(self) -> str:
        """Say ``published``, or which job of an audit it has come to and how that ended."""
        for job in AUDIT_JOBS:
            record = self.jobs.get(job.name)
            if record is None:
                return f"not begun: {job.name}"
            if record.outcome == "running":
                return f"running, or killed, since {local_time(record.started_at)}: {job.name}"
            if record.outcome != "done":
                return f"{record.outcome}: {job.name}"
        return "published"

    def cause(self) -> str:
        """Why the first job that did not end well did not; empty where all did."""
        found = (self.jobs[job.name].cause for job in AUDIT_JOBS if job.name in self.jobs)
        return next((cause for cause in found if cause), "")


def log_path(var: Path, namespace: str) -> Path:
    """File of the lines of one namespace."""
    return var / "jobs" / f"{namespace}.jsonl"


def read_nights(lines: Iterable[str], last: int) -> list[Night]:
    """Return the latest `last` dates, newest first. A line that a full disk cut off is left out."""
    nights: dict[date, dict[str, JobRecord]] = {}
    for line in lines:
        try:
            record = JobRecord(**json.loads(line))
        except (json.JSONDecodeError, TypeError):
            continue
        jobs = nights.setdefault(date.fromisoformat(record.dt), {})
        jobs.pop(record.job, None)
        jobs[record.job] = record
    return [Night(dt, nights[dt]) for dt in sorted(nights, reverse=True)[:last]]


def local_time(moment: str) -> str:
    """An ISO 8601 moment as people read it, in the time zone of this machine."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"
