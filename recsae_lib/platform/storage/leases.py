"""Locks for machines that share no disk: objects in S3, written on condition that nobody else has written them since.

A lease names each of its holders, with the time until which that one is known to live. Holders write that time anew as
long as they do; one that was killed is forgotten when its time is over. Time is that of the storage (the Date of its
responses), so that the clocks of the machines do not matter. A holder that cannot write stops its process before its
own time is over, which it knows by its monotonic clock; whether it holds the lease still, `HeldLease.verify` asks the
storage.
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
from recsae_lib.platform.storage.holding import Holder, Mode, TakenError, next_token
from recsae_lib.platform.storage.object_store import ObjectStore, StoredObject

SECONDS_TO_LIVE = 120.0  # after the last sign of life of a holder
RENEWALS = 4  # in that time
# Parts of that time after which a holder that was not renewed is stopped: SIGTERM, by which a training saves its state,
# then SIGKILL. The JVM ends when its Python has ended, for which the rest of the time is left.
STOPS = ((0.7, signal.SIGTERM), (0.85, signal.SIGKILL))
TRIES, SECONDS_BETWEEN = 20, 0.2  # where others write at the same moment

log = logging.getLogger("recsae")
clock = time.monotonic


@dataclass(frozen=True)
class LeaseHolder(Holder):
    """One that holds a lease.

    Parameters
    ----------
    until : when it is known to live (seconds since 1970, of the storage).
    token : see `holding.Hold`.
    """

    until: float
    token: int


@dataclass(frozen=True)
class Lease:
    """What the object says.

    Parameters
    ----------
    token : the greatest that was given.
    holders : by name.
    """

    token: int
    holders: dict[str, LeaseHolder]

    def at(self, now: float) -> Lease:
        """The lease with those of its holders that are known to live."""
        return replace(self, holders={name: holder for name, holder in self.holders.items() if holder.until > now})


@contextmanager
def hold_lease(address: str, run: str, mode: Mode = "write") -> Iterator[HeldLease]:
    """Hold a lease for a run; holders of the same run share it.

    A holder that could not renew it, or sees that it no longer holds it, stops its process (`STOPS`).

    Parameters
    ----------
    address : of the object, ``s3://bucket/key``. The storage must know conditional writes, as S3 does.

    Raises
    ------
    TakenError : another run holds it, and one of the two writes.
    PassingError : the storage does not answer, or refuses.
    """
    held = HeldLease(address, run, mode)
    held.take()
    over = threading.Event()
    keepers = [
        threading.Thread(target=keep, args=(held, over), name="lease", daemon=True) for keep in (_renew, _stop_in_time)
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield held
    finally:
        over.set()
        for keeper in keepers:
            keeper.join()
        try:
            held.give_back()
        except PassingError as failure:  # the work is done, and the lease ends by itself
            log.warning("%s is held for %g seconds more: %s", address, SECONDS_TO_LIVE, failure)


class LostError(PassingError):
    """The lease is no longer held."""


class HeldLease:
    """A lease that this process holds (`holding.Hold`).

    Parameters
    ----------
    address, run, mode : see `hold_lease`.
    """

    def __init__(self, address: str, run: str, mode: Mode) -> None:
        self.run, self.mode = run, mode
        self.token = 0
        self.renewed = 0.0  # by the monotonic clock, before the storage was asked
        self._name = uuid.uuid4().hex
        self.lock = _Lock(address)

    def take(self) -> None:
        """Become a holder of the lease.

        Raises
        ------
        TakenError, PassingError : see `hold_lease`.
        """

        def taken(found: Lease, now: float) -> Lease:
            lease = found.at(now)
            for other in lease.holders.values():
                if other.excludes(self.run, self.mode):
                    raise TakenError(other)
            since = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
            self.token = next_token(lease.token, now)
            own = LeaseHolder(self.run, socket.gethostname(), since, self.mode, now + SECONDS_TO_LIVE, self.token)
            return Lease(self.token, {**lease.holders, self._name: own})

        self.renewed = self.lock.change(taken)

    def renew(self) -> None:
        """Say that this holder lives.

        Raises
        ------
        LostError : it is no longer a holder.
        PassingError : the storage does not answer, or refuses.
        """

        def renewed(lease: Lease, now: float) -> Lease:
            own = self._own(lease, now)
            return replace(lease, holders={**lease.holders, self._name: replace(own, until=now + SECONDS_TO_LIVE)})

        self.renewed = self.lock.change(renewed)

    def verify(self) -> None:
        """Ask the storage whether the lease is held still.

        Raises
        ------
        LostError : it is not: its time is over, or another run has taken it.
        PassingError : the storage does not answer.
        """
        if self.seconds_left(1.0) <= 0:
            raise self._lost()
        lease, found = self.lock.read()
        self._own(lease, found.time)

    def give_back(self) -> None:
        """Be a holder no longer; nothing happens to one that is none."""

        def without(lease: Lease, now: float) -> Lease | None:
            others = {name: other for name, other in lease.holders.items() if name != self._name}
            return None if others == lease.holders else replace(lease, holders=others)

        self.lock.change(without)

    def seconds_left(self, part: float) -> float:
        """Seconds until a part of the time to live is over, by the monotonic clock."""
        return self.renewed + part * SECONDS_TO_LIVE - clock()

    def _own(self, lease: Lease, now: float) -> LeaseHolder:
        own = lease.at(now).holders.get(self._name)
        if own is None:
            raise self._lost()
        return own

    def _lost(self) -> LostError:
        return LostError(f"{self.run} has lost the lock {self.lock.address}: it was not renewed in time", "Start again")


def _renew(held: HeldLease, over: threading.Event) -> None:
    while not over.wait(SECONDS_TO_LIVE / RENEWALS):
        try:
            held.renew()
        except LostError as lost:
            log.error("%s: this run stops", lost)
            os.kill(os.getpid(), signal.SIGTERM)
            return  # what does not end by that ends when its time is over
        except PassingError as failure:
            log.warning("%s is not renewed: %s", held.lock.address, failure)


def _stop_in_time(held: HeldLease, over: threading.Event) -> None:
    """A thread of its own: the one that renews may wait for the storage for longer than the lease lives."""
    for part, number in STOPS:
        while (left := held.seconds_left(part)) > 0:
            if over.wait(left):
                return
        log.error("%s was not renewed in time: this run stops", held.lock.address)
        os.kill(os.getpid(), number)


class _Lock:
    """The object of one lease."""

    def __init__(self, address: str) -> None:
        self.address = address
        folder, _, self._name = address.rpartition("/")
        self._store = ObjectStore(folder, f"The lock {address} cannot be read or written", "paths.locks")

    def read(self) -> tuple[Lease, StoredObject]:
        """The lease as it is; one without holders where there is no object."""
        found = self._store.read(self._name)
        if found.content is None:
            return Lease(0, {}), found
        said = json.loads(found.content)
        return Lease(said["token"], {name: LeaseHolder(**holder) for name, holder in said["holders"].items()}), found

    def change(self, make: Callable[[Lease, float], Lease | None]) -> float:
        """Replace the lease by what `make` makes of it and of the time; None leaves it as it is.

        Returns
        -------
        The moment, by the monotonic clock, before the storage was asked for that lease and that time.
        """
        for _ in range(TRIES):
            asked = clock()
            lease, found = self.read()
            made = make(lease, found.time)
            if made is None or self._store.write(self._name, json.dumps(asdict(made)).encode(), found.tag):
                return asked
            time.sleep(SECONDS_BETWEEN)
        raise PassingError(f"The lock {self.address} changes all the time", "Start again")
