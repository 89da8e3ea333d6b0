"""One run at a time for a namespace and date, one process at a time for a job: a second one is refused meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path
from typing import IO

from recsae_lib.errors import PassingError

RUN_VARIABLE = "RECSAE_RUN"  # a scheduler gives the jobs of one night the same value, so that they run side by side
OWN_RUN = f"process {os.getpid()}-{uuid.uuid4().hex[:8]}"


@contextmanager
def hold_night(locks: str, namespace: str, dt: date) -> Iterator[None]:
    """Keep other runs from working on the same namespace and date; jobs of the same run share it.

    In a folder the lock is the operating system's (flock on a file): it ends with the process, however that ends.
    Machines keep each other out if they share the folder and its file system passes locks on, as NFS does; or else by
    leases in S3 (`storage.leases`), of which one that a killed process leaves ends after two minutes.

    Parameters
    ----------
    locks : a folder, or ``s3://bucket/folder``.

    Raises
    ------
    PassingError : another run holds it; or S3 does not answer.
    """
    with _hold(locks, f"{namespace}/{dt.isoformat()}.lock", run_name(), f"The audit {namespace} of {dt}"):
        yield


@contextmanager
def hold_job(locks: str, namespace: str, dt: date, job: str) -> Iterator[None]:
    """Keep other processes of the same run from the same job: a scheduler that lost its worker tries a job again, while
    the process of the first try may live on.

    Parameters, Raises : as of `hold_night`.
    """
    name = f"{namespace}/{dt.isoformat()}.{job}.lock"
    with _hold(locks, name, process_name(), f"The job {job} of the audit {namespace} of {dt}"):
        yield


@contextmanager
def _hold(locks: str, name: str, holder: str, what: str) -> Iterator[None]:
    if not locks.startswith("s3://"):
        with _hold_file(Path(locks) / name, holder, what):
            yield
        return
    from recsae_lib.platform.storage.leases import TakenError, hold_lease  # boto3 takes its time to be imported

    try:
        with hold_lease(f"{locks.rstrip('/')}/{name}", holder):
            yield
    except TakenError as taken:
        raise _under_way(what, taken.lease.run, taken.lease.host, taken.lease.since) from None


@contextmanager
def _hold_file(path: Path, holder: str, what: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        with (path.parent / "guard").open("a") as guard:  # between looking and taking, nobody else looks
            fcntl.flock(guard, fcntl.LOCK_EX)
            _take(file, holder, what)
        yield


def run_name() -> str:
    """Name of the run that this process belongs to: the scheduler's, torchrun's, or one of its own."""
    return os.environ.get(RUN_VARIABLE) or process_name()


def process_name() -> str:
    """Name of this process, which the processes of one torchrun share: they share the rows of a training."""
    if elastic := os.environ.get("TORCHELASTIC_RUN_ID"):
        return f"torchrun {elastic} at {os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    return OWN_RUN


def _take(file: IO[str], name: str, what: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = json.loads(file.read())
        if holder["run"] != name:
            raise _under_way(what, holder["run"], holder["host"], holder["since"]) from None
    else:
        file.truncate(0)
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        file.write(json.dumps({"run": name, "host": socket.gethostname(), "since": since}))
        file.flush()
    fcntl.flock(file, fcntl.LOCK_SH)


def _under_way(what: str, run: str, host: str, since: str) -> PassingError:
    return PassingError(
        f"{what} is under way: {run} on {host}, since {since}", "Start again when it has ended, or stop it"
    )
