"""What a lock is, wherever it lies: who holds it, what for, and the token of each time that it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Mode = Literal["write", "read"]  # several runs may read at once; one that writes is alone


@dataclass(frozen=True)
class Holder:
    """One that holds a lock.

    Parameters
    ----------
    run : whose jobs hold it together.
    host, since : of the one that took it.
    mode : what for.
    """

    run: str
    host: str
    since: str
    mode: Mode

    def excludes(self, run: str, mode: Mode) -> bool:
        """Whether this one keeps a run from taking the lock."""
        return self.run != run and "write" in (self.mode, mode)


class TakenError(Exception):
    """Another run holds the lock."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder)
        self.holder = holder


class Hold(Protocol):
    """A lock that this process holds."""

    @property
    def run(self) -> str:
        """The run that holds it."""

    @property
    def mode(self) -> Mode:
        """What it is held for."""

    @property
    def token(self) -> int:
        """A number that is greater each time that somebody takes the lock."""

    def verify(self) -> None:
        """Look whether it is held still.

        Raises
        ------
        PassingError : it is not, or nobody can tell.
        """


def next_token(last: int, now: float) -> int:
    """Token of the next holder.

    Parameters
    ----------
    last : the token before; 0 where none is known. A lock that was deleted, or that moved to another place, goes on
        above its old tokens, since those are not ahead of the time.
    now : seconds since 1970.
    """
    return max(last + 1, int(now))
