"""Who makes the calls of the `inline` transport: this process, or several where there are many to make.

A call, with what the ledger and the bookkeeping take, is most of a millisecond of processor time: one process makes a
little more than 1,000 a second. Processes of their own only call; what is asked, when, and what becomes of an answer is
decided here. They are told by lines on their standard input, ``custom_id body``, answer in JSON lines on their
standard output, and end when the input does, which it does too if this process is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import cycle

from recsae_lib.config import LlmSettings
from recsae_lib.errors import PassingError
from recsae_lib.platform.llm.chat_client import Outcome, open_client
from recsae_lib.platform.llm.failures import Failure
from recsae_lib.platform.llm.request_files import encode_line

REQUESTS_A_PROCESS = 2_500  # which make up for the seconds that a process takes to start
LONGEST_LINE = 2**26  # bytes

Caller = Callable[[str, bytes], Awaitable[Outcome]]


@asynccontextmanager
async def open_caller(settings: LlmSettings, requests: int) -> AsyncIterator[Caller]:
    """Open what makes the calls of a run.

    Parameters
    ----------
    settings : server and key.
    requests : how many there are to make.

    Raises
    ------
    InputError : see `address_and_key`.
    PassingError : (by the caller) a process that makes calls has ended.
    """
    number = min(os.cpu_count() or 1, requests // REQUESTS_A_PROCESS)
    async with open_client(settings) as client:
        processes = [await _Process.start(settings) for _ in range(number - 1)]
        # This process has the ledger to keep as well.
        in_turn: Iterator[Caller] = cycle([client.ask, *(process.call for process in processes)])

        def call(custom_id: str, body: bytes) -> Awaitable[Outcome]:
            are_ready = processes and all(process.is_ready for process in processes)
            return next(in_turn)(custom_id, body) if are_ready else client.ask(custom_id, body)

        try:
            yield call
        finally:
            await asyncio.gather(*(process.end() for process in processes))


class _Process:
    """A process that makes calls; started by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self.is_ready = False
        self._has_ended = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: LlmSettings) -> _Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is for this process, which lets calls under way end
        )
        assert process.stdin is not None
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        return cls(process)

    async def call(self, custom_id: str, body: bytes) -> Outcome:
        """Have it make a call."""
        if self._has_ended:
            raise self._lost()
        assert self._process.stdin is not None
        outcome = self._waiting[custom_id] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(b"%s %s\n" % (custom_id.encode(), body))
        try:
            return await outcome
        finally:
            self._waiting.pop(custom_id)

    async def end(self) -> None:
        """Return when it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._reading
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        self.is_ready = bool(await self._process.stdout.readline())
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            outcome = Failure(**told["failure"]) if "failure" in told else told["answer"]
            waiting = self._waiting.get(told["custom_id"])
            if waiting is not None and not waiting.done():  # whoever waited may have been interrupted
                waiting.set_result((outcome, told["wait"]))
        self._has_ended = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._lost())

    def _lost(self) -> PassingError:
        return PassingError(
            "A process that asks the language model has ended in the middle of its calls",
            "See above what it said; if nothing, whether memory was short. Then run again: answers that have landed "
            "are kept",
        )


async def _serve() -> None:
    """Make calls until the standard input ends."""
    lines = asyncio.StreamReader(LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings = LlmSettings.model_validate_json(await lines.readline())
    under_way: set[asyncio.Task[None]] = set()

    async def answer(line: bytes) -> None:
        custom_id, _, body = line.rstrip(b"\n").decode("ascii").partition(" ")
        outcome, wait = await client.ask(custom_id, body.encode())
        kind, what = ("failure", asdict(outcome)) if isinstance(outcome, Failure) else ("answer", outcome)
        sys.stdout.buffer.write(encode_line({"custom_id": custom_id, kind: what, "wait": wait}))
        sys.stdout.buffer.flush()

    def end(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            os._exit(1)  # who waits for the answer must not wait for ever

    async with open_client(settings) as client:
        sys.stdout.buffer.write(b"ready\n")
        sys.stdout.buffer.flush()
        while line := await lines.readline():
            task = asyncio.create_task(answer(line))
            under_way.add(task)
            task.add_done_callback(end)


if __name__ == "__main__":
    asyncio.run(_serve())
