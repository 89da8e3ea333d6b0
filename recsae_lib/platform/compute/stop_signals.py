"""SIGTERM and SIGINT as a question that a long loop asks between two steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_at_signals() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether one of `SIGNALS` has arrived; a second one acts as it did before.

    Only the main thread of a process can do this.
    """
    arrived = False
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def arrive(number: int, frame: FrameType | None) -> None:
        nonlocal arrived
        arrived = True
        restore()

    for number in SIGNALS:
        signal.signal(number, arrive)
    try:
        yield lambda: arrived
    finally:
        restore()
