"""Who makes the calls of the `inline` transport: this process, or several where there are many to make.

A call takes most of a millisecond of processor time, two thirds of it the openai client's, beside what the ledger and
the bookkeeping take: one process makes some 1,000 a second. Processes of their own only call; what is asked, when, and
what becomes of an answer is decided here. They are told by lines on their standard input, ``custom_id body``, answer in
JSON lines on their standard output, and end when the input does, which it does too if this process is killed.
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
from functools import partial
from itertools import cycle
from typing import Any

import httpx2
from openai import AsyncOpenAI, Omit

from recsae_lib.config import OpenaiSettings
from recsae_lib.errors import PassingError
from recsae_lib.interpretation.batch_files import JsonObject, encode_line
from recsae_lib.interpretation.http_client import open_client
from recsae_lib.interpretation.llm_server import CALL_ERRORS, Failure, failure_of, used_up_seconds

REQUESTS_A_PROCESS = 2_500  # which make up for the seconds that a process takes to start
LONGEST_LINE = 2**26  # bytes

# Building headers is a good part of what a call costs, and a server needs none of these.
_HEADERS: dict[str, str | Omit] = {
    "Content-Type": "application/json",
    **dict.fromkeys(("X-Stainless-Retry-Count", "X-Stainless-Read-Timeout", "X-Stainless-Async"), Omit()),
    **dict.fromkeys((f"X-Stainless-{name}" for name in ("Lang", "Package-Version", "OS", "Arch")), Omit()),
    **dict.fromkeys(("X-Stainless-Runtime", "X-Stainless-Runtime-Version"), Omit()),
}

# What the client would otherwise copy, or draw at random, anew for each call.
_OPTIONS: dict[str, Any] = {
    **{"max_retries": 0, "params": {}, "extra_json": None, "follow_redirects": None},
    **{"security": {"bearer_auth": True}, "synthesize_event_and_data": False, "stream_mode": "legacy"},
}

# Of a custom_id and a request's body: its answer or how it failed, and for how many seconds the server's rate limits
# want nothing more to be sent.
Outcome = tuple[JsonObject | Failure, float]
Caller = Callable[[str, bytes], Awaitable[Outcome]]


@asynccontextmanager
async def open_caller(settings: OpenaiSettings, requests: int) -> AsyncIterator[Caller]:
    """Open what makes the calls of a run.

    Parameters
    ----------
    settings : server and key.
    requests : how many there are to make.

    Raises
    ------
    InputError : see `client_options`.
    PassingError : (by the caller) a process that makes calls has ended.
    """
    number = min(os.cpu_count() or 1, requests // REQUESTS_A_PROCESS)
    async with open_client(settings) as client:
        own = partial(_call, client, settings)
        processes = [await _Process.start(settings) for _ in range(number - 1)]
        # This process has the ledger to keep as well.
        in_turn: Iterator[Caller] = cycle([own, *(process.call for process in processes)])

        def call(custom_id: str, body: bytes) -> Awaitable[Outcome]:
            are_ready = processes and all(process.is_ready for process in processes)
            return next(in_turn)(custom_id, body) if are_ready else own(custom_id, body)

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
    async def start(cls, settings: OpenaiSettings) -> _Process:
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


async def _call(client: AsyncOpenAI, settings: OpenaiSettings, custom_id: str, body: bytes) -> Outcome:
    headers = {**_HEADERS, "Idempotency-Key": custom_id, "X-Client-Request-Id": custom_id}
    options: Any = {**_OPTIONS, "headers": headers, "idempotency_key": custom_id}  # their type has no public name
    try:
        response = await client.post(
            f"{client.base_url}chat/completions",  # whole: joining it anew costs a twentieth of a call
            cast_to=httpx2.Response,
            content=body,
            options=options,
        )
        answer = {"status_code": 200, "body": json.loads(response.content)}
    except CALL_ERRORS as error:
        return failure_of(error, settings), 0.0
    except (ValueError, RecursionError):
        return Failure("no_json", "the server's response is no JSON", passing=False), 0.0
    wait = used_up_seconds(response.headers, len(body) // 3)
    return {"custom_id": custom_id, "response": answer, "error": None}, wait


async def _serve() -> None:
    """Make calls until the standard input ends."""
    lines = asyncio.StreamReader(LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings = OpenaiSettings.model_validate_json(await lines.readline())
    under_way: set[asyncio.Task[None]] = set()

    async def answer(line: bytes) -> None:
        custom_id, _, body = line.rstrip(b"\n").decode("ascii").partition(" ")
        outcome, wait = await _call(client, settings, custom_id, body.encode())
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
