"""What both transports share: the server's address and key, what a failure means, how long to wait, and the budget."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from recsae_lib.config import OpenaiSettings
from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.llm.answers import one_line
from recsae_lib.platform.llm.ledger import Ledger, Spending, usage_of
from recsae_lib.platform.llm.request_files import JsonObject, estimate_prompt_tokens, succeeded

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
LONGEST_WAIT_SECONDS = 600.0  # that a server may ask for; a job does not sit out a limit of the day

_REFUSALS = {
    401: "Put a valid key into the environment variable {variable}",
    403: "Use a key (environment variable {variable}) that may use this model",
    404: "Check interpretation.openai.base_url and interpretation.openai.model; a server without the Batch API needs "
    "interpretation.transport=inline",
}
_NO_CREDIT = "Add credit to the account of the key in the environment variable {variable}"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def address_and_key(settings: OpenaiSettings) -> tuple[str, str]:
    """Where the server is, and the key to be sent.

    Raises
    ------
    InputError : no key for OpenAI's own server, or the address is no URL.
    """
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
    return address, key or "none"


def connect_seconds(settings: OpenaiSettings) -> float:
    """How long a connection may take to come about."""
    return min(CONNECT_SECONDS, settings.timeout_seconds)


@dataclass(frozen=True)
class Failure:
    """Why a call came to nothing.

    Parameters
    ----------
    code, message : as they stand in an answers file.
    passing : whether the same call may succeed later.
    wait_seconds : what the server asks to wait; None where it does not say.
    remedy : what has to be done, or waited for, before any call can succeed; None where nothing.
    """

    code: str
    message: str
    passing: bool
    wait_seconds: float | None = None
    remedy: str | None = None

    @property
    def rate_limited(self) -> bool:
        """Whether the server only wants fewer calls."""
        return self.code == "http_429"

    def ending(self, settings: OpenaiSettings) -> InputError | PassingError:
        """The failure as the end of the job."""
        server, code = settings.base_url or OPENAI_URL, self.code.replace("http_", "HTTP ")
        remedy = self.remedy or "See to the server, then run again: answers that have landed are kept"
        if self.passing:
            return PassingError(f"The server at {server} fails again and again with {code}: {self.message}", remedy)
        return InputError(f"The server at {server} refuses model {settings.model} with {code}: {self.message}", remedy)


def may_pass(code: str) -> bool:
    """Whether a failure of this code may be none later."""
    kind, _, status = code.partition("_")
    if kind == "http" and status.isdigit():
        return int(status) in (408, 409, 429) or int(status) >= 500
    return code in ("connection", "timeout")


def timed_out(settings: OpenaiSettings) -> Failure:
    """A call without an answer in time."""
    return Failure("timeout", f"no answer within {settings.timeout_seconds:g} seconds", passing=True)


def disconnected(error: BaseException) -> Failure:
    """A call that could not be made, or broke off."""
    return Failure("connection", one_line(repr(_first_cause(error))), passing=True)


def refused(
    status: int, headers: Mapping[str, str], code: str | None, message: str, settings: OpenaiSettings
) -> Failure:
    """An answer that says no.

    Parameters
    ----------
    status, headers : of the HTTP response.
    code, message : of the error in it.
    """
    wait = _wait_seconds(headers)
    if wait is None and status == 429:
        wait = used_up_seconds(headers, 1) or None
    remedy = _NO_CREDIT if code == "insufficient_quota" else _REFUSALS.get(status)
    passing = remedy is None and may_pass(f"http_{status}")
    if remedy is None and wait is not None and wait > LONGEST_WAIT_SECONDS:
        remedy = f"Run again in {wait:.0f} seconds, as the server asks: answers that have landed are kept"
    return Failure(
        code=f"http_{status}",
        message=one_line(message),
        passing=passing,
        wait_seconds=wait,
        remedy=remedy and remedy.format(variable=settings.api_key_variable),
    )


def growing_pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubling from 0.5 to 8, less up to a half by chance."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)


def used_up_seconds(headers: Mapping[str, str], next_tokens: int) -> float:
    """How long the server's rate-limit headers want the next request to wait; 0 where the limits leave room for it.

    Read are ``x-ratelimit-remaining-requests``, ``x-ratelimit-remaining-tokens`` and the ``-reset-`` of each, a number
    of seconds or a duration such as ``6m0s``.

    Parameters
    ----------
    next_tokens : size of the next request.
    """
    wait = 0.0
    for kind, needed in (("requests", 1), ("tokens", next_tokens)):
        remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        if remaining is not None and remaining < needed:
            wait = max(wait, _duration(headers.get(f"x-ratelimit-reset-{kind}") or "") or 0.0)
    return min(wait, LONGEST_WAIT_SECONDS)


class Budget:
    """What a run may still pay for. What is under way counts with all that it may cost, so that no limit is passed.

    (Estimates of prompts err to the high side, see `estimate_prompt_tokens`; answers are bounded by max_tokens.)
    """

    def __init__(self, settings: OpenaiSettings, spent: Spending) -> None:
        self._settings = settings
        self._limits = (settings.budget_requests, settings.budget_tokens, settings.budget_cost)
        self._is_limited = self._limits != (None, None, None)
        self._used: list[float] = [spent.requests, spent.tokens, spent.cost]

    def reserve(self, body: JsonObject) -> bool:
        """Set aside what a request may cost; False, and nothing is set aside, where that would pass a limit."""
        if not self._is_limited:
            return True
        wanted = self._worst(body)
        sums = [used + want for used, want in zip(self._used, wanted, strict=True)]
        if any(limit is not None and total > limit for limit, total in zip(self._limits, sums, strict=True)):
            return False
        self._used = sums
        return True

    def settle(self, body: JsonObject, answer: JsonObject | None) -> None:
        """Replace what was set aside for a request by what its answer did cost (nothing where it failed)."""
        if not self._is_limited:
            return
        self._used = [used - want for used, want in zip(self._used, self._worst(body), strict=True)]
        if answer is None or not succeeded(answer):
            return
        prompt, completion = usage_of(answer)
        if prompt is None or completion is None:
            spent = self._worst(body)
        else:
            prices = self._settings.prices or (0.0, 0.0)
            spent = (1.0, float(prompt + completion), prompt * prices[0] + completion * prices[1])
        self._used = [used + part for used, part in zip(self._used, spent, strict=True)]

    def used_up(self, done: int, total: int) -> InputError:
        """The end of a job whose budget does not reach for all requests."""
        names = ("budget_requests", "budget_tokens", "budget_cost")
        set_limits = [f"{n} = {limit:g}" for n, limit in zip(names, self._limits, strict=True) if limit is not None]
        return InputError(
            f"The budget (interpretation.openai: {', '.join(set_limits)}) is used up: {done:,} of {total:,} requests "
            "are done or under way",
            "Raise it and run again: answers that have landed are kept",
        )

    def _worst(self, body: JsonObject) -> tuple[float, float, float]:
        prompt, completion = estimate_prompt_tokens(body), body["max_tokens"]
        prices = self._settings.prices or (0.0, 0.0)
        return 1.0, float(prompt + completion), prompt * prices[0] + completion * prices[1]


def refuse_if_nothing_succeeded(ledger: Ledger, settings: OpenaiSettings) -> None:
    """Raise where every request of the ledger's file failed: the server is at fault, and not the requests.

    Raises
    ------
    PassingError : it could not be reached, or not cope.
    InputError : it answered something else.
    """
    done, total = ledger.progress()
    if total and done == total and not ledger.count("answered"):
        last = ledger.last_failure()
        raise (PassingError if may_pass(last.partition(":")[0]) else InputError)(
            f"The server at {settings.base_url or OPENAI_URL} failed all {total:,} requests, the last with {last}",
            "Check that the server at interpretation.openai.base_url serves interpretation.openai.model and takes "
            "interpretation.openai.answer_format, then run again, with submit first where submit and collect are steps "
            "of their own: what failed is asked again",
        )


def failed_answer(custom_id: str, code: str, message: str) -> JsonObject:
    """The line of an answers file that stands for no answer."""
    return {"custom_id": custom_id, "response": None, "error": {"code": code, "message": one_line(message)}}


def _first_cause(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _first_cause(error.__cause__)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def _wait_seconds(headers: Mapping[str, str]) -> float | None:
    milliseconds, text = _number(headers.get("retry-after-ms")), headers.get("retry-after")
    if milliseconds is not None:
        return milliseconds / 1e3
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()) else None


def _duration(text: str) -> float | None:
    if (seconds := _number(text)) is not None:
        return seconds
    parts = _DURATION.findall(text)
    return sum(float(count) * _UNIT_SECONDS[unit] for count, unit in parts) if parts else None
