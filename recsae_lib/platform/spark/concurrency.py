"""Several actions of Spark at a time: each waits for its own small stages while another one plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Given = TypeVar("Given")
Answer = TypeVar("Answer")
Other = TypeVar("Other")

AT_ONCE = 3  # each may keep rows on the executors and some on the driver


def side_by_side(action: Callable[[Given], Answer], given: Iterable[Given]) -> list[Answer]:
    """Return what `action` answers to each of the `given`, in their order; they have nothing to do with each other.

    Spark runs the tasks of an earlier action first and those of a later one in the gaps: where tables are large this
    takes as long as one after the other, where they are small planning and waiting overlap. Write a plain loop where
    each action fills the cluster alone. The first failure is raised, once those that have begun are over; the rest does
    not begin.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(action, one) for one in given]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def both(first: Callable[[], Answer], second: Callable[[], Other]) -> tuple[Answer, Other]:
    """Return what two questions answer that have nothing to do with each other (`side_by_side`)."""
    questions: list[Callable[[], Any]] = [first, second]
    one, other = side_by_side(lambda ask: ask(), questions)
    return one, other
