"""Locks for machines that share no disk: objects in S3, written on condition that nobody else has written them since.

A lease names the run that holds it and each of its holders, with the time until which that one is known to live.
Holders write that time anew as long as they do; one that was killed is forgotten when its time is over. Time is that of
the storage (the Date of its responses), so that the clocks of the machines do not matter.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from recsae_lib.errors import PassingError
from recsae_lib.platform.storage.object_store import ObjectStore, StoredObject

SECONDS_TO_LIVE = 120.0  # after the last sign of life of a holder
RENEWALS = 4  # in that time
TRIES, SECONDS_BETWEEN = 20, 0.2  # where others write at the same moment

log = logging.getLogger("recsae")


@dataclass(frozen=True)
class Lease:
    """What the object says.

    Parameters
    ----------
    run : whose it is.
    host, since : of the holder that took it for the run.
    holders : name of each holder, and until when it is known to live (seconds since 1970, of the storage).
    """

    run: str
    host: str
    since: str
    holders: dict[str, float]


class TakenError(Exception):
    """Another run holds the lease."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease)
        self.lease = lease


@contextmanager
def hold_lease(address: str, run: str) -> Iterator[None]:
    """Hold a lease for a run; holders of the same run share it.

    A holder that could not renew it in time, and sees that another run has taken it, stops its process with SIGTERM.

    Parameters
    ----------
    address : of the object, ``s3://bucket/key``. The storage must know conditional writes, as S3 does.

    Raises
    ------
    TakenError : another run holds it.
    PassingError : the storage does not answer, or refuses.
    """
    lock, holder = _Lock(address), uuid.uuid4().hex
    lock.change(lambda lease, now: _with_holder(lease, run, holder, now))
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lock, run, holder, over), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        try:
            lock.change(lambda lease, now: _without_holder(lease, run, holder))
        except PassingError as failure:  # the work is done, and the lease ends by itself
            log.warning("%s is held for %g seconds more: %s", address, SECONDS_TO_LIVE, failure)


def _renew(lock: _Lock, run: str, holder: str, over: threading.Event) -> None:
    while not over.wait(SECONDS_TO_LIVE / RENEWALS):
        try:
            lock.change(lambda lease, now: _renewed(lease, run, holder, now))
        except PassingError as failure:
            log.warning("%s is not renewed: %s", lock.address, failure)
        except TakenError as taken:
            log.error("%s was not renewed in time, and %s has taken it: this run stops", lock.address, taken.lease.run)
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _with_holder(lease: Lease | None, run: str, holder: str, now: float) -> Lease:
    alive = {} if lease is None else {name: until for name, until in lease.holders.items() if until > now}
    if lease is not None and lease.run != run and alive:
        raise TakenError(lease)
    if lease is None or lease.run != run or not alive:
        since = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
        lease = Lease(run, socket.gethostname(), since, {})
    return replace(lease, holders={**alive, holder: now + SECONDS_TO_LIVE})


def _renewed(lease: Lease | None, run: str, holder: str, now: float) -> Lease:
    if lease is not None and lease.run != run:  # even where that run has ended: it did not know of this one
        raise TakenError(lease)
    return _with_holder(lease, run, holder, now)


def _without_holder(lease: Lease | None, run: str, holder: str) -> Lease | None:
    if lease is None or lease.run != run or holder not in lease.holders:
        return None
    return replace(lease, holders={name: until for name, until in lease.holders.items() if name != holder})


class _Lock:
    """The object of one lease."""

    def __init__(self, address: str) -> None:
        self.address = address
        folder, _, self._name = address.rpartition("/")
        self._store = ObjectStore(folder, f"The lock {address} cannot be read or written", "paths.locks")

    def read(self) -> tuple[Lease | None, StoredObject]:
        found = self._store.read(self._name)
        return (None if found.content is None else Lease(**json.loads(found.content))), found

    def change(self, make: Callable[[Lease | None, float], Lease | None]) -> None:
        """Replace the lease by what `make` makes of it and of the time; None leaves it as it is."""
        for _ in range(TRIES):
            lease, found = self.read()
            made = make(lease, found.time)
            if made is None or self._store.write(self._name, json.dumps(asdict(made)).encode(), found.tag):
                return
            time.sleep(SECONDS_BETWEEN)
        raise PassingError(f"The lock {self.address} changes all the time", "Start again")
