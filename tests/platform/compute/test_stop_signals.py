from __future__ import annotations

import os
import signal

import pytest

from recsae_lib.platform.compute.stop_signals import stop_at_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_question_the_second_one_is_not(number: signal.Signals) -> None:
    received: list[int] = []
    before = signal.signal(number, lambda number, frame: received.append(number))
    try:
        with stop_at_signals() as stop:
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
            assert received == []
            os.kill(os.getpid(), number)
            assert received == [number]
        os.kill(os.getpid(), number)
        assert received == [number, number]
    finally:
        signal.signal(number, before)
