"""The book of jobs: a line of JSON when a run of a job starts and one when it ends, and what the lines come to.

The book of one model is ``<paths.var>/jobs/<namespace>.jsonl``. `recsae status` shows it, and by it an audit that was
killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Literal

from recsae_lib.config import DEFAULT_SITE, Settings
from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.job.jobs import AUDIT_JOBS
from recsae_lib.platform.storage.locks import run_name
from recsae_lib.redaction import redacted

Outcome = Literal["running", "done", "failed", "bad input", "check failed", "stopped", "unfinished"]
CAUSE_LENGTH = 2000  # a line that is written in one piece may not be long
INGEST, PUBLISH, LAST = AUDIT_JOBS[0].name, "publish_audit", AUDIT_JOBS[-1].name


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
    rows_in, rows_out, bytes_in, bytes_out : of Spark's stages, and what workers wrote past them (`Traffic`). What a
        training reads from files by itself is not counted.
    run : name of the run that it belongs to (`locks.run_name`).
    config_digest, code_version : of the settings, and of the code, under which it ran.
    data_digest : of the ingested tables; None outside of `run_audit`, and of the ingestion itself.
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
    run: str = ""
    config_digest: str = ""
    code_version: str = ""
    data_digest: str | None = None

    def append_to(self, var: Path) -> None:
        """Append the line, in one write: jobs of other nights may append at the same moment."""
        content = {**asdict(self), "cause": redacted(self.cause)[:CAUSE_LENGTH]}
        path = book_path(var, self.namespace)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(content, ensure_ascii=False) + "\n").encode()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":  # a full disk cut the last line off
                line = b"\n" + line
            os.write(file, line)
        finally:
            os.close(file)


_FIELDS = {field.name for field in fields(JobRecord)}


@dataclass(frozen=True)
class RunRecord:
    """What the book says of one date to a run under given settings, by the code that is running.

    Parameters
    ----------
    records : of the jobs of audits for the date, oldest first.
    run, config_digest, code_version : of the one who asks, as in `JobRecord`.
    """

    records: tuple[JobRecord, ...]
    run: str
    config_digest: str
    code_version: str

    @classmethod
    def read(cls, settings: Settings, dt: date) -> RunRecord:
        """Read the book; one that is not there yet is empty."""
        jobs = {job.name for job in AUDIT_JOBS}
        book = read_book(book_path(Path(settings.paths.var), settings.namespaces(DEFAULT_SITE)["model"]))
        records = tuple(record for record in book if record.dt == dt.isoformat() and record.job in jobs)
        return cls(records, run_name(), settings.digest(), code_version())

    @property
    def started_at(self) -> str:
        """When the first job of this audit started: of this run, or of one under the same settings and code that it
        goes on with. ISO 8601 in UTC; now where the book has no job of it.
        """
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for record in self._back_to_end():
            if record.run != self.run and not self._is_alike(record):
                break
            started = record.started_at
        return started

    def done(self, data_digest: str) -> dict[str, float]:
        """Return the seconds of each job that an interrupted audit has done, which need not run again on this data.

        What has run since under other settings, code or data ends it, also a job by itself: it has written to the same
        tables. The ingestion does not: each audit repeats it, and knows by the digest whether the data are the same.
        """
        newest: dict[str, JobRecord] = {}
        for record in self._back_to_end():
            if record.job == INGEST:
                continue
            if not self._is_alike(record) or record.data_digest not in (None, data_digest):
                break
            if record.data_digest is not None:
                newest.setdefault(record.job, record)
        return {job: record.seconds for job, record in newest.items() if record.outcome == "done"}

    def is_published(self, data_digest: str | None = None) -> bool:
        """Whether the newest publication by an audit was under the same settings and code (and data, where given)."""
        newest = next((record for record in reversed(self._in_audits()) if record.job == PUBLISH), None)
        return (
            newest is not None
            and newest.outcome == "done"
            and self._is_alike(newest)
            and data_digest in (None, newest.data_digest)
        )

    def seconds(self) -> dict[str, float]:
        """Return the seconds that each job took which an audit has done under the same settings and code."""
        return {
            record.job: record.seconds
            for record in self._in_audits()
            if record.outcome == "done" and self._is_alike(record)
        }

    def _in_audits(self) -> list[JobRecord]:
        return [record for record in self.records if record.data_digest is not None]

    def _back_to_end(self) -> Iterator[JobRecord]:
        """Records since the last audit that came to its end: to its last job; of jobs one by one, to publication."""
        for record in reversed(self.records):
            in_audit = record.data_digest is not None
            if record.outcome == "done" and record.job == (LAST if in_audit else PUBLISH):
                return
            if in_audit or record.job != LAST:  # by itself it reads what is published, and writes to no table
                yield record

    def _is_alike(self, record: JobRecord) -> bool:
        return (record.config_digest, record.code_version) == (self.config_digest, self.code_version)


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
        """Say ``published``, or which job of an audit it has come to and how that ended; both, of a job after that.

        A job without a run that later ones did not wait for was not needed: the data of several models are ingested
        once, in the book of one of them, and what is registered is not trained.
        """
        next_job, published = AUDIT_JOBS[0].name, ""
        names = [job.name for job in AUDIT_JOBS]
        for job, following in zip(names, [*names[1:], None], strict=True):
            record = self.jobs.get(job)
            if record is None:
                continue
            if record.outcome == "running":
                return f"{published}running, or killed, since {local_time(record.started_at)}: {job}"
            if record.outcome != "done":
                return f"{published}{record.outcome}: {job}"
            if job == PUBLISH:
                published = "published; "
            next_job = following or ""
        return published.removesuffix("; ") or f"not begun: {next_job}"

    def cause(self) -> str:
        """Why the first job that did not end well did not; empty where all did."""
        found = (self.jobs[job.name].cause for job in AUDIT_JOBS if job.name in self.jobs)
        return next((cause for cause in found if cause), "")


def book_path(var: Path, namespace: str) -> Path:
    """File of the book of one model, which its namespace names."""
    return var / "jobs" / f"{namespace}.jsonl"


def read_book(path: Path) -> list[JobRecord]:
    """Read the lines of a book, oldest first; none where it is not there.

    Lines of an older release lack some fields, those of a newer one have more. A line that a full disk cut off is left
    out.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as lines:
        return [record for line in lines if (record := _parsed(line)) is not None]


def _parsed(line: str) -> JobRecord | None:
    try:
        content = json.loads(line)
        record = JobRecord(**{name: content[name] for name in _FIELDS & content.keys()})
        date.fromisoformat(record.dt)
    except (ValueError, TypeError, AttributeError):
        return None
    return record


def latest_nights(records: Iterable[JobRecord], last: int) -> list[Night]:
    """Return the latest `last` dates, newest first."""
    nights: dict[date, dict[str, JobRecord]] = {}
    for record in records:
        jobs = nights.setdefault(date.fromisoformat(record.dt), {})
        jobs.pop(record.job, None)
        jobs[record.job] = record
    return [Night(dt, nights[dt]) for dt in sorted(nights, reverse=True)[:last]]


def migrate_books(var: Path) -> list[str]:
    """Remove the run records that earlier releases kept beside the book, and say so, in a line or none.

    They told a killed audit what was done under the settings and the code of then, both of which have changed: it
    begins anew, as after every change of code. Lines of old books are read as they are.
    """
    runs = var / "runs"
    records = sorted(runs.glob("*/????-??-??.*"))
    if not records:
        return []
    for record in records:
        record.unlink()
    for folder in (*{record.parent for record in records}, runs):
        if not any(folder.iterdir()):
            folder.rmdir()
    return [f"{runs}: {len(records)} run records of an earlier release removed"]


def local_time(moment: str) -> str:
    """An ISO 8601 moment as people read it, in the time zone of this machine."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"
