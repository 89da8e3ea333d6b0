"""One run at a time writes the tables of a namespace and date, one process at a time runs a job: others are refused."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from recsae_lib.errors import PassingError
from recsae_lib.platform.storage.file_locks import hold_folder
from recsae_lib.platform.storage.holding import Hold, Holder, Mode, TakenError

RUN_VARIABLE = "RECSAE_RUN"  # a scheduler gives the jobs of one night the same value, so that they run side by side
OWN_RUN = f"process {os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Night:
    """A namespace and date that this process holds."""

    namespace: str
    dt: date
    hold: Hold


@dataclass
class Fence:
    """The nights that this process holds, the latest last: what its commits have to stand on."""

    nights: list[Night] = field(default_factory=list)

    def verify(self) -> None:
        """Look whether all nights are held still.

        Raises
        ------
        PassingError : one is not, or nobody can tell.
        """
        latest = {(night.namespace, night.dt): night.hold for night in self.nights}
        for hold in latest.values():
            hold.verify()

    def writer(self, namespace: str, dt: date) -> Hold | None:
        """The latest hold by which this process may write the tables of a namespace and date alone."""
        for night in reversed(self.nights):
            if (night.namespace, night.dt, night.hold.mode) == (namespace, dt, "write"):
                return night.hold
        return None


@contextmanager
def hold_night(locks: str, modes: Mapping[str, Mode], dt: date, run: str, fence: Fence) -> Iterator[None]:
    """Keep other runs from namespaces and a date: from all work on those that this one writes, from writing those that
    it reads. Jobs of the same run share them.

    In a folder the lock is the operating system's (`storage.file_locks`); in S3 it is a lease (`storage.leases`), of
    which one that a killed process leaves ends after two minutes.

    Parameters
    ----------
    locks : a folder, or ``s3://bucket/folder``.
    modes : of each namespace.
    run : see `run_name`.
    fence : knows what is held meanwhile.

    Raises
    ------
    PassingError : another run holds one of them; or S3 does not answer.
    """
    with ExitStack() as held:
        nights = []
        for namespace, mode in sorted(modes.items()):  # nobody waits for another; one of two gets all of them
            what = f"The audit {namespace} of {dt}"
            hold = held.enter_context(_hold(locks, f"{namespace}/{dt.isoformat()}/night", run, mode, what))
            nights.append(Night(namespace, dt, hold))
        fence.nights = [*fence.nights, *nights]
        try:
            yield
        finally:
            fence.nights = [night for night in fence.nights if night not in nights]


@contextmanager
def hold_job(locks: str, namespace: str, dt: date, job: str) -> Iterator[None]:
    """Keep other processes of the same run from the same job: a scheduler that lost its worker tries a job again, while
    the process of the first try may live on.

    Parameters, Raises : as of `hold_night`.
    """
    name, what = f"{namespace}/{dt.isoformat()}/{job}", f"The job {job} of the audit {namespace} of {dt}"
    with _hold(locks, name, process_name(), "write", what):
        yield


@contextmanager
def _hold(locks: str, name: str, run: str, mode: Mode, what: str) -> Iterator[Hold]:
    with ExitStack() as held:
        try:
            if locks.startswith("s3://"):
                from recsae_lib.platform.storage.leases import hold_lease  # boto3 takes its time to be imported

                hold: Hold = held.enter_context(hold_lease(f"{locks.rstrip('/')}/{name}", run, mode))
            else:
                hold = held.enter_context(hold_folder(Path(locks) / name, run, mode))
        except TakenError as taken:
            raise _under_way(what, taken.holder) from None
        yield hold


def run_name() -> str:
    """Name of the run that this process belongs to: the scheduler's, torchrun's, or one of its own."""
    return os.environ.get(RUN_VARIABLE) or process_name()


def process_name() -> str:
    """Name of this process, which the processes of one torchrun share: they share the rows of a training."""
    if elastic := os.environ.get("TORCHELASTIC_RUN_ID"):
        return f"torchrun {elastic} at {os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    return OWN_RUN


def _under_way(what: str, holder: Holder) -> PassingError:
    return PassingError(
        f"{what} is under way: {holder.run} on {holder.host}, since {holder.since}",
        "Start again when it has ended, or stop it",
    )
