"""The openai clients of both transports, one chat call, and what the client's errors mean.

Proxies, TLS variables, redirects, compression and the addresses of Azure are the client's work.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncAzureOpenAI,
    AsyncOpenAI,
    AzureOpenAI,
    DefaultAioHttpClient,
    OpenAI,
    OpenAIError,
    Timeout,
)

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.answers import completion_in, error_in, one_line
from recsae_lib.platform.llm.failures import Failure, disconnected, refused, timed_out, used_up_seconds, without_answer
from recsae_lib.platform.llm.request_files import JsonObject, estimate_prompt_tokens
from recsae_lib.platform.llm.server import Server, connect_seconds, server_of

CallError = OpenAIError | httpx2.HTTPError | ValueError
CALL_ERRORS = (OpenAIError, httpx2.HTTPError, ValueError)  # the last of a response of 200 that is no JSON, or is odd

# Of a request: its answer or how it failed, and for how many seconds the server's rate limits want nothing more sent.
Outcome = tuple[JsonObject | Failure, float]


def open_client(settings: LlmSettings) -> OpenAI:
    """Open the client of the `batch` transport, which does not retry by itself.

    Its calls may last as long as files take: `timeout_seconds` is the longest silence.

    Raises
    ------
    InputError : see `server_of`.
    """
    server = server_of(settings)
    kind: Any = OpenAI if server.azure_version is None else AzureOpenAI
    client: OpenAI = kind(**_arguments(server, settings))
    return client


@asynccontextmanager
async def open_async_client(settings: LlmSettings) -> AsyncIterator[AsyncOpenAI]:
    """Open the client of the `inline` transport, which does not retry by itself.

    Raises
    ------
    InputError : see `server_of`.
    """
    server = server_of(settings)
    kind: Any = AsyncOpenAI if server.azure_version is None else AsyncAzureOpenAI
    limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    client: AsyncOpenAI
    async with kind(**_arguments(server, settings), http_client=DefaultAioHttpClient(limits=limits)) as client:
        yield client


async def ask(client: AsyncOpenAI, request: JsonObject, key: str, settings: LlmSettings) -> Outcome:
    """Make one chat call, which ends within `timeout_seconds` and is not made again if it fails.

    Parameters
    ----------
    key : under which the server may know that it has made this call before.
    """
    custom_id, body = request["custom_id"], request["body"]
    headers = {"Idempotency-Key": key, "X-Client-Request-Id": custom_id}
    # Not by chat.completions.create: that knows the fields of its day, and builds an object of each answer.
    call = client.post("/chat/completions", cast_to=httpx2.Response, body=body, options={"headers": headers})
    try:
        response = await asyncio.wait_for(call, settings.timeout_seconds)
    except asyncio.TimeoutError:
        return timed_out(settings), 0.0
    except (OpenAIError, httpx2.HTTPError) as error:
        return failure_of(error, settings), 0.0
    try:
        told = json.loads(response.content)
    except (ValueError, RecursionError):
        return without_answer("no_json", "the server's response is no JSON"), 0.0
    if completion_in(told) is None:
        code, message = error_in(told)
        if code is not None and code.isdigit() and 400 <= int(code) <= 599:  # so do gateways tell of servers behind
            return refused(int(code), response.headers, None, message, settings), 0.0
        return without_answer("no_completion", f"the server sent no chat completion: {message}"), 0.0
    answer = {"custom_id": custom_id, "response": {"status_code": 200, "body": told}, "error": None}
    return answer, used_up_seconds(response.headers, estimate_prompt_tokens(body))


def failure_of(error: CallError, settings: LlmSettings) -> Failure:
    """Say what an error of the client means."""
    if isinstance(error, APIStatusError):
        code, message = error_in(error.body)
        return refused(error.status_code, error.response.headers, code, message, settings)
    if isinstance(error, APIConnectionError | httpx2.HTTPError):
        # The client calls a connection that breaks a timeout; what it was stands behind.
        cause = _first_cause(error)
        if isinstance(cause, asyncio.TimeoutError | TimeoutError | httpx2.TimeoutException):
            return timed_out(settings)
        return disconnected(cause, isinstance(cause, ssl.SSLCertVerificationError))
    if isinstance(error, ValueError):
        return without_answer("no_answer", f"the server's response is none: {error}")
    return Failure("client", one_line(str(error)), passing=False)


def _arguments(server: Server, settings: LlmSettings) -> dict[str, Any]:
    arguments = {
        "api_key": server.key,
        "base_url": server.address,
        "default_query": server.query,
        "default_headers": server.headers,
        "max_retries": 0,
        "timeout": Timeout(settings.timeout_seconds, connect=connect_seconds(settings)),
    }
    return arguments if server.azure_version is None else {**arguments, "api_version": server.azure_version}


def _first_cause(error: BaseException) -> BaseException:
    behind = error.__cause__ or getattr(error, "certificate_error", None)  # of aiohttp, around that of ssl
    return error if behind is None else _first_cause(behind)
