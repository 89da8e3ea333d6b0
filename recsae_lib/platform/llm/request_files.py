"""Requests and answers as data: one JSON object a line, in the format of the OpenAI Batch API.

A request is ``{"custom_id", "method", "url", "body"}``. An answer is ``{"custom_id", "response": {"status_code",
"body"}, "error": null}``, or ``{"custom_id", "response": null, "error": {"code", "message"}}`` where none came.
The custom_id ends in the digest of the body, after its last hyphen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recsae_lib.platform.storage.files import replacing

JsonObject = dict[str, Any]

TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")  # the second is that of OpenAI's models that think
BYTES_PER_TOKEN = 3  # English has about 4 bytes of UTF-8 a token: estimates err on the side of too many


def encode_line(record: JsonObject) -> bytes:
    """Encode one line; it is plain ASCII, whatever the record holds."""
    return json.dumps(record).encode() + b"\n"


def write_requests(path: Path, requests: Iterable[JsonObject]) -> None:
    """Write a file of requests, one at a time; a reader sees the old file or the whole new one."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        for request in requests:
            file.write(encode_line(request))


def read_requests(path: Path) -> Iterator[JsonObject]:
    """Read the requests of a file one at a time."""
    with path.open(encoding="ascii", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def digest_of(custom_id: str) -> str:
    """What identifies the content of a request: two with the same digest are the same question."""
    return custom_id.rpartition("-")[2]


def completion_limit(body: JsonObject) -> int | None:
    """How many tokens an answer to a request may have; None where it does not say."""
    limits = [body.get(name) for name in TOKENS_FIELDS]
    return max((limit for limit in limits if type(limit) is int), default=None)


def estimate_prompt_tokens(body: JsonObject) -> int:
    """How many tokens the messages of a request have: their bytes in UTF-8 by three, rounded up."""
    return math.ceil(sum(len(message["content"].encode()) for message in body["messages"]) / BYTES_PER_TOKEN)
