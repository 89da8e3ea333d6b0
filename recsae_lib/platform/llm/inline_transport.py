"""The `inline` transport: asks an OpenAI-compatible server one request at a time, many at once.

Answers go to the ledger, through fsync, as they come. What a server was working on when the job was killed cannot be
known: those requests (at most `concurrency` of them), and those whose answers were on their way to the disk (at most
half as many), are asked again, under the same ``Idempotency-Key``, so that a server which honours that header does not
charge twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from openai import AsyncOpenAI

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.llm.budget import Budget
from recsae_lib.platform.llm.client import ask, open_async_client
from recsae_lib.platform.llm.failures import (
    LONGEST_WAIT_SECONDS,
    MEND_REQUESTS,
    Failure,
    failed_answer,
    growing_pause,
)
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.platform.llm.server import address_of

FEWEST_FAILURES = 5  # in a row, before the circuit breaker opens
GATHERING_SECONDS = 0.01  # that a commit waits for more answers: one of a few costs as much as one of many

Progress = Callable[[int, int], None]


def ask_pending(ledger: Ledger, settings: LlmSettings, on_progress: Progress) -> None:
    """Ask every request that the ledger holds for pending; land each answer.

    Passing failures (no connection, no answer in time, 408, 409, 429, 5xx, 200 without a completion) are tried
    `retries` times more with growing, jittered pauses. A pause that the server asks for (Retry-After, rate-limit
    headers) holds all requests; tries that end with 429 do not count, for up to ten minutes. After as many failures in
    a row as requests are under way (at least 5) the circuit breaker opens: one request at a time goes out, after ever
    longer pauses, and if `retries` of them fail too, the job ends. What fails for good lands as a failure and is asked
    again by the next run. Memory does not grow with the number of requests.

    Parameters
    ----------
    ledger : its requests file says what is needed.
    settings : server, key, model, concurrency, limits and budget.
    on_progress : called with (requests answered or failed, all requests) at the start and whenever one lands.

    Raises
    ------
    InputError : see `server_of`; the server refuses the key, the model or the account's quota, or one request after the
        other; or the budget is used up.
    PassingError : the circuit breaker gave up, or the server asks to wait for more than ten minutes.

    Before either is raised, requests under way are waited for, and their answers are kept.
    """
    done, total = ledger.progress()
    on_progress(done, total)
    if ledger.count("intended"):
        asyncio.run(_Asking(ledger, settings, done, total, on_progress).run())


class _Asking:
    """One run: its workers, and what they share."""

    def __init__(self, ledger: Ledger, settings: LlmSettings, done: int, total: int, on_progress: Progress) -> None:
        self.settings, self.done, self.total, self.on_progress = settings, done, total, on_progress
        self.pending = ledger.pending()
        self.budget = Budget(settings, ledger.spending())
        self.held_back = False
        self.gate = _Gate(max(settings.concurrency, FEWEST_FAILURES), settings.retries)
        self.landing = _Landing(ledger, settings.concurrency // 2, self._count_landed)

    async def run(self) -> None:
        async with open_async_client(self.settings) as client:
            try:
                await asyncio.gather(*(self._ask_one_after_another(client) for _ in range(self.settings.concurrency)))
            finally:
                await self.landing.finish()
        if self.gate.ending is not None:
            raise self.gate.ending
        if self.held_back:
            raise self.budget.used_up(self.done, self.total)

    async def _ask_one_after_another(self, client: AsyncOpenAI) -> None:
        for request, key, failed_before in self.pending:
            if not self.budget.reserve(request["body"]):
                self.held_back = True  # others give back what they did not use, and go on with what then fits
                return
            answer = await self._ask(client, request, key, failed_before)
            self.budget.settle(request["body"], answer)
            if answer is None:
                return
            await self.landing.land(answer)

    def _count_landed(self) -> None:
        self.done += 1
        self.on_progress(self.done, self.total)

    async def _ask(self, client: AsyncOpenAI, request: JsonObject, key: str, failed_before: bool) -> JsonObject | None:
        """Ask until there is an answer or a failure that lasts; None where the job ends before."""
        started = time.monotonic()
        tries = failures = 0
        while (is_probe := await self.gate.enter()) is not None:
            outcome, wait = await ask(client, request, key, self.settings)
            if wait:
                self.gate.hold(wait)
            if not isinstance(outcome, Failure):
                self.gate.leave(is_probe)
                return outcome
            failures += 1
            # A request that failed in an earlier run may be at fault itself and says nothing about the server.
            if is_probe or not failed_before:
                self.gate.leave(is_probe, self._given_up(outcome))
            if outcome.remedy is not None:
                self.gate.end(outcome.ending(self.settings))
                return None
            patient = outcome.rate_limited and time.monotonic() - started < LONGEST_WAIT_SECONDS
            tries += not patient
            if not outcome.passing or tries > self.settings.retries:
                return failed_answer(request["custom_id"], outcome.code, outcome.message)
            pause = growing_pause(failures)
            if outcome.rate_limited or outcome.wait_seconds is not None:
                self.gate.hold(outcome.wait_seconds or pause)
            else:
                await self.gate.sleep(pause)
        return None

    def _given_up(self, failure: Failure) -> InputError | PassingError:
        server = f"The server at {address_of(self.settings)}"
        if not failure.passing:
            code = failure.code.replace("http_", "HTTP ")
            return InputError(
                f"{server} refused every one of the last requests, the last time with {code}: {failure.message}",
                MEND_REQUESTS,
            )
        return PassingError(
            f"{server} failed every one of the last requests, the last time with {failure.code}: {failure.message}",
            "Check that it runs at llm.base_url and serves llm.model, then run again: answers that have landed are "
            "kept",
        )


@dataclass
class _Gate:
    """What every request passes: pauses that the server asked for, and the circuit breaker.

    Parameters
    ----------
    most_failures : failures in a row at which the breaker opens.
    probes : requests that may fail, one at a time, while it is open.
    ending : why nothing more is sent; None while all is well.
    """

    most_failures: int
    probes: int
    ending: InputError | PassingError | None = None
    _failures_in_a_row: int = 0
    _failed_probes: int = 0
    _probing: bool = False
    _not_before: float = 0.0
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _probed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def _is_open(self) -> bool:
        return self._failures_in_a_row >= self.most_failures

    async def enter(self) -> bool | None:
        """Wait for one's turn: True to go as a probe, False to go, None when nothing more is sent."""
        while self.ending is None:
            if (pause := self._not_before - time.monotonic()) > 0:
                await self.sleep(pause)
            elif not self._is_open:
                return False
            elif not self._probing:
                self._probing = True
                self._probed.clear()
                return True
            else:
                await self._probed.wait()
        return None

    def leave(self, is_probe: bool, failure: InputError | PassingError | None = None) -> None:
        """Tell how it went; `failure` ends the job if it is one too many."""
        if is_probe:
            self._probing = False
            self._probed.set()
        if failure is None:
            self._failures_in_a_row = self._failed_probes = 0
            return
        was_open = self._is_open
        self._failures_in_a_row += 1
        self._failed_probes += is_probe
        if self._is_open and self._failed_probes >= self.probes:
            self.end(failure)
        elif is_probe or (self._is_open and not was_open):
            self.hold(growing_pause(self._failed_probes + 1))

    def hold(self, seconds: float) -> None:
        """Let nothing be sent for some seconds from now."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def end(self, reason: InputError | PassingError) -> None:
        """Let nothing be sent any more; the first reason counts."""
        self.ending = self.ending or reason
        self._ended.set()
        self._probed.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except asyncio.TimeoutError:
            return


class _Landing:
    """Writes answers to the ledger; those that arrive while one commit is under way share the next.

    Parameters
    ----------
    ledger : takes the answers.
    most_waiting : answers that may be on their way to the disk while their workers go on.
    on_landed : called for each answer that is on disk.
    """

    def __init__(self, ledger: Ledger, most_waiting: int, on_landed: Callable[[], None]) -> None:
        self._ledger, self._most_waiting, self._on_landed = ledger, most_waiting, on_landed
        self._waiting: list[JsonObject] = []
        self._on_their_way = 0
        self._committed = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def land(self, answer: JsonObject) -> None:
        """Take an answer; return when the next may be waited for. Raises what a commit raised."""
        self._waiting.append(answer)
        self._on_their_way += 1
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        while self._on_their_way > self._most_waiting and self._error is None:
            # An event wakes all that wait in one turn of the loop, a lock one a turn: a turn may take milliseconds.
            await self._committed.wait()
        if self._error is not None:
            raise self._error

    async def finish(self) -> None:
        """Return when all that was taken is on disk. Raises what a commit raised."""
        if self._writer is not None:
            await self._writer
        if self._error is not None:
            raise self._error

    async def _write(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < self._most_waiting // 2:
                    await asyncio.sleep(GATHERING_SECONDS)
                together, self._waiting = self._waiting, []
                await asyncio.to_thread(self._ledger.land, together)
                self._on_their_way -= len(together)
                self._committed.set()
                self._committed = asyncio.Event()
                for _ in together:
                    self._on_landed()
        except Exception as error:
            self._error = error
            self._committed.set()
        finally:
            self._writer = None
