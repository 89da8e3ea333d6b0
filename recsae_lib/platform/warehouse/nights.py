"""Nights that the upkeep may remove from: those that no run holds. It holds them itself until it has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import date
from types import TracebackType

from recsae_lib.errors import PassingError

log = logging.getLogger("recsae")


class Nights:
    """Which nights are free.

    Parameters
    ----------
    hold : holds the locks of a night (`storage.locks`); raises PassingError where another run holds one.
    """

    def __init__(self, hold: Callable[[date], AbstractContextManager[None]]) -> None:
        self._hold, self._held, self._taken = hold, ExitStack(), dict[date, bool]()

    def __enter__(self) -> Nights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def take(self, dt: date) -> bool:
        """Hold a night from now on; False where a run works on it, or nobody can tell."""
        if dt not in self._taken:
            try:
                self._held.enter_context(self._hold(dt))
                self._taken[dt] = True
            except PassingError as refusal:
                log.info("maintain_tables: what is of %s stays this time: %s", dt, refusal)
                self._taken[dt] = False
        return self._taken[dt]
