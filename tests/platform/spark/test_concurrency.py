from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, Event

import pytest

from recsae_lib.platform.spark.concurrency import AT_ONCE, side_by_side


def test_answers_come_in_the_order_of_what_was_given() -> None:
    ended = Event()

    def answer(number: int) -> int:
        if number == 0:
            assert ended.wait(60)
        if number == 1:
            ended.set()
        return number * number

    assert side_by_side(answer, range(10)) == [number * number for number in range(10)]


def test_so_many_run_at_once() -> None:
    together = Barrier(AT_ONCE, timeout=60)
    assert len(set(side_by_side(lambda _: together.wait(), range(AT_ONCE)))) == AT_ONCE


def test_after_a_failure_nothing_more_begins() -> None:
    begun, submitted, failed = [], Event(), Event()

    def given() -> Iterator[int]:
        yield from range(20_000)
        submitted.set()

    def act(number: int) -> None:
        begun.append(number)
        if number == 0:
            assert submitted.wait(60)
            failed.set()
            raise ValueError("number 0")
        assert failed.wait(60)

    with pytest.raises(ValueError, match="number 0"):
        side_by_side(act, given())
    assert AT_ONCE <= len(begun) < 20_000
