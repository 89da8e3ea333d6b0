"""The openai client of the `batch` transport, and what its errors mean."""

from __future__ import annotations

import httpx2
from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAI, OpenAIError, Timeout

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.answers import one_line
from recsae_lib.platform.llm.failures import Failure, disconnected, refused, timed_out
from recsae_lib.platform.llm.server import address_and_key, connect_seconds

CallError = OpenAIError | httpx2.HTTPError
CALL_ERRORS = (OpenAIError, httpx2.HTTPError)


def open_client(settings: LlmSettings) -> OpenAI:
    """Open the client, which does not retry by itself.

    Raises
    ------
    InputError : see `address_and_key`.
    """
    address, key = address_and_key(settings)
    timeout = Timeout(settings.timeout_seconds, connect=connect_seconds(settings))
    return OpenAI(api_key=key, base_url=address, max_retries=0, timeout=timeout)


def failure_of(error: CallError, settings: LlmSettings) -> Failure:
    """Say what an error of the client means."""
    if isinstance(error, APITimeoutError | httpx2.TimeoutException):
        return timed_out(settings)
    if isinstance(error, APIConnectionError | httpx2.HTTPError):
        return disconnected(error)
    if isinstance(error, APIStatusError):
        return refused(error.status_code, error.response.headers, error.code, error.message, settings)
    return Failure("client", one_line(str(error)), passing=False)
