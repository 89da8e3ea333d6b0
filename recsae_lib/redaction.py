"""What must not be shown: keys and passwords are blanked in every text that leaves the program.

Every message passes `redacted` where it leaves: errors (`errors`), log and last line (`job.log`, `job.failures`), book
of jobs, printed settings, and what is kept of servers (ledger, tables of rejects). It imports nothing of ours.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

MASK = "***"
SHORTEST = 8  # characters of a value that is known as a secret; what is shorter may be a word

_remembered: set[str] = set()

_SECRET_VARIABLE = re.compile(r"(?:key|token|password|passwd|secret|credentials?)$", re.IGNORECASE)
_USERINFO = re.compile(
    r"""\b([a-z][a-z0-9+.-]*://)
    (?: [^\s/?\#"'<>]+@ | [^\s/?\#"'<>:]*:(?!\d+[/?\#])[^\s"'<>]*@ )  # also of a password with / or # in it""",
    re.IGNORECASE | re.VERBOSE,
)
# A header, setting or variable with its value, as text, JSON, Python or the repr of bytes spell it.
_NAMED = re.compile(
    r"""(\b[\w-]*(?:authorization|api[-_]?key|subscription-key|password|passwd|secret|access[-_]?key
        |(?:access|auth|refresh|session|security)[-_]?token)
        \\*["']?\s*(?:[:=]|,(?=\s*b?["']))\s*b?)
    (?: (\\*["'])[^"'\\]+ | (?:(?:bearer|basic|digest|token)\s+)?[^\s"'\\,;&)}\]]+ )""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_QUERY = re.compile(r"([?&](?:sig|signature|token|key|code|x-(?:amz|goog)-[\w-]+)=)[^\s&#\"'\\]+", re.IGNORECASE)
_BEARER = re.compile(r"(\bBearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_OPENAI_KEY = re.compile(r"\bsk-[\w-]{8,}")


def remember(secrets: Iterable[str]) -> None:
    """Know values as secrets from here on, and each word of them: ``Bearer KEY`` is KEY too."""
    _remembered.update(part for secret in secrets for part in (secret.strip(), *secret.split()))


def redacted(text: str) -> str:
    """A message without secrets: those that are known, user and password in addresses, and what is named as one."""
    text = _USERINFO.sub(rf"\1{MASK}@", without_secrets(text))
    text = _NAMED.sub(lambda match: f"{match[1]}{match[2] or ''}{MASK}", text)
    return _OPENAI_KEY.sub(MASK, _BEARER.sub(rf"\1{MASK}", _IN_QUERY.sub(rf"\1{MASK}", text)))


def without_secrets(text: str) -> str:
    """A text of which only known secrets are blanked: remembered ones, and those in variables such as ``…_API_KEY``."""
    of_environment = (value.strip() for name, value in os.environ.items() if _SECRET_VARIABLE.search(name))
    secrets = {value for value in (*_remembered, *of_environment) if len(value) >= SHORTEST and value[0] not in "/~"}
    for secret in sorted(secrets, key=len, reverse=True):
        for spelling in _spellings(secret):
            text = text.replace(spelling, MASK)
    return text


@lru_cache(maxsize=256)
def _spellings(secret: str) -> tuple[str, ...]:
    """How a secret may stand in a text: as it is, in JSON, in an address, in a header of basic authentication."""
    in_json = json.dumps(secret)[1:-1]
    encoded = base64.b64encode(secret.encode("utf-8", "replace")).decode()
    return tuple(dict.fromkeys((secret, in_json, quote(secret, safe="", errors="replace"), encoded)))
