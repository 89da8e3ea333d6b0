"""The `inline` transport: asks an OpenAI-compatible server one request at a time, many at once.

Each answer is on disk before the next request of its worker is sent, so that what was paid for is never asked again.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, Timeout

from recsae_lib.config import OpenaiSettings
from recsae_lib.errors import InputError
from recsae_lib.interpretation.answers import one_line
from recsae_lib.interpretation.batch_files import (
    JsonObject,
    drop_unfinished_line,
    encode_line,
    index_answers,
    read_requests,
)

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
FEWEST_FAILURES = 5  # in a row, before the server is given up

_REFUSALS = {
    401: "Put a valid key into the environment variable {variable}",
    403: "Use a key (environment variable {variable}) that may use this model",
    404: "Check interpretation.openai.base_url and interpretation.openai.model",
}

Progress = Callable[[int, int], None]


def run_inline(requests_path: Path, answers_path: Path, settings: OpenaiSettings, on_progress: Progress) -> None:
    """Ask every request that has no successful answer yet; append each answer as it lands.

    Passing failures (no connection, no answer in time, 408, 409, 429, 5xx) are tried `retries` times more with growing,
    jittered pauses, or after the pause that the server's Retry-After names. What fails still, lands as an error and is
    asked again on the next run. Memory does not grow with the size of the files, only with the number of requests.

    Parameters
    ----------
    requests_path, answers_path : files in the format of `batch_files`; the second may not be there yet.
    settings : server, key, model, concurrency and limits.
    on_progress : called with (requests answered or failed, all requests) at the start and whenever one lands.

    Raises
    ------
    InputError : no key for OpenAI's own server; the address is no URL; the server refuses the key, the model or the
        account's quota; or as many requests in a row as are under way at once (at least 5) failed, or all of them.
        Answers that have landed are kept.
    """
    drop_unfinished_line(answers_path)
    landed = index_answers(answers_path)
    answered = {custom_id for custom_id, answer in landed.items() if answer.succeeded}
    identities = [request["custom_id"] for request in read_requests(requests_path)]
    tally = _Tally(
        total=len(identities),
        done=sum(custom_id in answered for custom_id in identities),
        failed_before=frozenset(landed) - answered,
        most_failures=max(settings.concurrency, FEWEST_FAILURES),
        on_progress=on_progress,
    )
    del identities, landed
    on_progress(tally.done, tally.total)
    if tally.done == tally.total:
        return
    tally.server_answers = tally.done > 0
    client = _open_client(settings)
    pending = (request for request in read_requests(requests_path) if request["custom_id"] not in answered)
    with answers_path.open("ab") as answers:
        asyncio.run(_ask_all(client, pending, answers, tally, settings))
    if not tally.server_answers:
        raise tally.given_up(client)


@dataclass
class _Tally:
    """What has landed, and whether the server is still worth asking."""

    total: int
    done: int
    failed_before: frozenset[str]
    most_failures: int
    on_progress: Progress
    server_answers: bool = False
    failures_in_a_row: int = 0
    last_failure: str = ""

    def count(self, answer: JsonObject) -> None:
        self.done += 1
        self.on_progress(self.done, self.total)
        if answer["error"] is None:
            self.server_answers, self.failures_in_a_row = True, 0
        else:
            self.last_failure = f"{answer['error']['code']}: {answer['error']['message']}"
            # A request that failed in an earlier run may be at fault itself and says nothing about the server.
            self.failures_in_a_row += answer["custom_id"] not in self.failed_before

    def given_up(self, client: AsyncOpenAI) -> InputError:
        return InputError(
            f"The server at {client.base_url} failed every one of the last requests, the last time with "
            f"{self.last_failure}",
            "Check that it runs at interpretation.openai.base_url and serves interpretation.openai.model, then run "
            "again: answers that have landed are kept",
        )


def _open_client(settings: OpenaiSettings) -> AsyncOpenAI:
    key = os.environ.get(settings.api_key_variable, "").strip()
    if not key and settings.base_url is None:
        raise InputError(
            f"The environment variable {settings.api_key_variable} holds no key for {OPENAI_URL}",
            "Set it, or set interpretation.openai.base_url to a server that needs none",
        )
    address = settings.base_url or OPENAI_URL
    if not _is_address(address):
        raise InputError(
            f"interpretation.openai.base_url is {address!r}, no address of a server",
            "Write it as http://host:port/v1",
        )
    return AsyncOpenAI(
        api_key=key or "none",
        base_url=address,
        max_retries=settings.retries,
        timeout=Timeout(settings.timeout_seconds, connect=min(CONNECT_SECONDS, settings.timeout_seconds)),
    )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


async def _ask_all(
    client: AsyncOpenAI, pending: Iterator[JsonObject], answers: BinaryIO, tally: _Tally, settings: OpenaiSettings
) -> None:
    async def ask_one_after_another() -> None:
        for request in pending:
            answer = await _ask(client, request, settings)
            answers.write(encode_line(answer))
            answers.flush()
            tally.count(answer)
            if tally.failures_in_a_row >= tally.most_failures:
                raise tally.given_up(client)

    async with client:
        workers = [asyncio.create_task(ask_one_after_another()) for _ in range(settings.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _ask(client: AsyncOpenAI, request: JsonObject, settings: OpenaiSettings) -> JsonObject:
    custom_id = request["custom_id"]
    try:
        response = await client.chat.completions.with_raw_response.create(
            **request["body"], extra_headers={"X-Client-Request-Id": custom_id}
        )
        body = json.loads(response.http_response.content)
    except APITimeoutError:
        return _failure(custom_id, "timeout", f"no answer within {settings.timeout_seconds:g} seconds")
    except APIConnectionError as error:
        return _failure(custom_id, "connection", repr(error.__cause__))
    except APIStatusError as error:
        _stop_if_refused(error, client, settings)
        return _failure(custom_id, f"http_{error.status_code}", error.message)
    except (ValueError, RecursionError):
        return _failure(custom_id, "no_json", "the server's response is no JSON")
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def _stop_if_refused(error: APIStatusError, client: AsyncOpenAI, settings: OpenaiSettings) -> None:
    remedy = _REFUSALS.get(error.status_code)
    if error.code == "insufficient_quota":
        remedy = "Add credit to the account of the key in the environment variable {variable}"
    if remedy is not None:
        raise InputError(
            f"The server at {client.base_url} refuses model {settings.model} with HTTP {error.status_code}: "
            f"{one_line(error.message)}",
            remedy.format(variable=settings.api_key_variable),
        ) from None


def _failure(custom_id: str, code: str, message: str) -> JsonObject:
    return {"custom_id": custom_id, "response": None, "error": {"code": code, "message": one_line(message)}}
