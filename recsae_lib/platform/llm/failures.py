"""What a failed call means: whether the next may succeed, how long to wait for it, and what has to be done before."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.llm.answers import one_line
from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.platform.llm.server import address_of

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
LONGEST_WAIT_SECONDS = 600.0  # that a server may ask for; a job does not sit out a limit of the day

MEND_REQUESTS = (
    "Check that the server at llm.base_url serves llm.model and takes the requests: a field that it refuses can be "
    "left out or called otherwise (temperature: null, llm.tokens_field, llm.answer_format, llm.extra_body). Then run "
    "again: answers that have landed are kept"
)

_NO_CREDIT = "Add credit to the account of the key in the environment variable {variable}"
_NO_CHAT = "Check llm.base_url: what answers there takes no chat completions"
# Refusals that the next request meets too; 400, 413 and 422 may be about one request.
_REFUSALS = {
    401: "Put a valid key into the environment variable {variable}",
    403: "Use a key (environment variable {variable}) that may use this model",
    404: "Check llm.base_url and llm.model; a server without the Batch API needs llm.transport=inline",
    402: _NO_CREDIT,
    405: _NO_CHAT,
    415: _NO_CHAT,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


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

    def ending(self, settings: LlmSettings) -> InputError | PassingError:
        """The failure as the end of the job."""
        server, code = address_of(settings), self.code.replace("http_", "HTTP ")
        if self.passing:
            remedy = self.remedy or "See to the server, then run again: answers that have landed are kept"
            return PassingError(f"The server at {server} fails again and again with {code}: {self.message}", remedy)
        return InputError(
            f"The server at {server} refuses model {settings.model} with {code}: {self.message}",
            self.remedy or MEND_REQUESTS,
        )


def may_pass(code: str) -> bool:
    """Whether a failure of this code may be none later."""
    kind, _, status = code.partition("_")
    if kind == "http" and status.isdigit():
        return int(status) in (408, 409, 429) or int(status) >= 500
    return code in ("connection", "timeout", "no_json", "no_completion")


def timed_out(settings: LlmSettings) -> Failure:
    """A call without an answer in time."""
    return Failure("timeout", f"no answer within {settings.timeout_seconds:g} seconds", passing=True)


def disconnected(cause: BaseException, is_untrusted: bool = False) -> Failure:
    """A call that could not be made, or broke off.

    Parameters
    ----------
    is_untrusted : whether this machine does not trust the server's certificate.
    """
    message, remedy = one_line(repr(cause)), "Name the file of its authority in the environment variable SSL_CERT_FILE"
    return Failure("connection", message, passing=not is_untrusted, remedy=remedy if is_untrusted else None)


def without_answer(code: str, message: str) -> Failure:
    """A call that went well and brought no completion: a server that is still starting, a gateway that lost its own."""
    return Failure(code, one_line(message), passing=True)


def refused(status: int, headers: Mapping[str, str], code: str | None, message: str, settings: LlmSettings) -> Failure:
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


def failed_answer(custom_id: str, code: str, message: str) -> JsonObject:
    """The line of an answers file that stands for no answer."""
    return {"custom_id": custom_id, "response": None, "error": {"code": code, "message": one_line(message)}}


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
