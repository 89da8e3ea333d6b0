from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, Event

import pytest

from recsae_lib.platform.spark.concurrency import AT_ONCE, both, side_by_side


def test_answers_keep_the_order_of_inputs_whichever_ends_first() -> None:
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


def test_two_questions_are_answered_at_once_each_in_its_place() -> None:
    together = Barrier(2, timeout=60)
    assert both(lambda: (together.wait(), "one")[1], lambda: (together.wait(), 2)[1]) == ("one", 2)


def test_a_failure_is_raised_and_nothing_more_is_started() -> None:
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
