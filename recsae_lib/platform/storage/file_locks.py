"""Locks of the operating system (flock) in a folder: they end with the process, however that ends.

Machines keep each other out if they share the folder and its file system passes locks on, as NFS does. A lock is a
folder with a file for each run that holds it; each process of the run holds flock on that file. The file `guard` lets
one process at a time look and take, and holds the last token.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from recsae_lib.errors import PassingError
from recsae_lib.platform.storage.holding import Holder, Mode, TakenError, next_token


@dataclass(frozen=True)
class HeldFile:
    """A lock in a folder that this process holds (`holding.Hold`)."""

    path: Path
    file: IO[str]
    run: str
    mode: Mode
    token: int

    def is_there(self) -> bool:
        """Whether the file is in its place still."""
        try:
            return os.stat(self.path).st_ino == os.fstat(self.file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def verify(self) -> None:
        """Look whether the file is there still: without it, others would not see that the lock is held.

        Raises
        ------
        PassingError : somebody has deleted it.
        """
        if not self.is_there():
            raise PassingError(f"The lock {self.path} was deleted while {self.run} held it", "Start again")


@contextmanager
def hold_folder(folder: Path, run: str, mode: Mode) -> Iterator[HeldFile]:
    """Hold a lock for a run; processes of the same run share it.

    Raises
    ------
    TakenError : another run holds it, and one of the two writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"{mode}-{hashlib.sha256(run.encode()).hexdigest()[:16]}.lock"
    with _guard(folder) as guard:
        _refuse_others(folder, run, mode)
        token = _next_token(guard)
        file = own.open("a+", encoding="utf-8")
        if _is_free(file):
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            file.truncate(0)
            file.write(json.dumps(asdict(Holder(run, socket.gethostname(), now, mode))))
            file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
    with file:
        held = HeldFile(own, file, run, mode, token)
        try:
            yield held
        finally:
            if held.is_there():
                with _guard(folder):
                    if _is_free(file):  # no other process of the run holds it
                        own.unlink()


@contextmanager
def _guard(folder: Path) -> Iterator[IO[str]]:
    """Keep others from looking and from taking meanwhile."""
    with (folder / "guard").open("a+", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield guard


def _refuse_others(folder: Path, run: str, mode: Mode) -> None:
    for path in sorted(folder.glob("*.lock")):
        with path.open("r+", encoding="utf-8") as file:
            if _is_free(file):  # its processes were killed
                path.unlink()
                continue
            holder = Holder(**json.loads(file.read()))
            if holder.excludes(run, mode):
                raise TakenError(holder)


def _next_token(guard: IO[str]) -> int:
    guard.seek(0)
    token = next_token(int(guard.read() or 0), datetime.now(timezone.utc).timestamp())
    guard.truncate(0)
    guard.write(str(token))
    guard.flush()
    return token


def _is_free(file: IO[str]) -> bool:
    """Whether nobody else holds the file; this one does then."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
