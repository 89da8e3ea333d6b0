"""Requests and answers as files: one JSON object a line, in the format of the OpenAI Batch API.

A request is ``{"custom_id", "method", "url", "body"}``. An answer is ``{"custom_id", "response": {"status_code",
"body"}, "error": null}``, or ``{"custom_id", "response": null, "error": {"code", "message"}}`` where none came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from recsae_lib.errors import InputError

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class LandedAnswer:
    """Where the answer to one request stands.

    Parameters
    ----------
    offset : byte at which its line starts.
    succeeded : whether the server answered (paid work, not to be asked again), rather than failed.
    """

    offset: int
    succeeded: bool


def encode_line(record: JsonObject) -> bytes:
    """Encode one line; it is plain ASCII, whatever the record holds."""
    return json.dumps(record).encode() + b"\n"


def write_requests(path: Path, requests: Iterable[JsonObject]) -> None:
    """Write the requests file, one at a time; a reader sees the old file or the whole new one."""
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        for request in requests:
            file.write(encode_line(request))
    os.replace(unfinished, path)


def read_requests(path: Path) -> Iterator[JsonObject]:
    """Read the requests of a file one at a time."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def drop_unfinished_line(path: Path) -> None:
    """Cut off the last line of an answers file where a killed process left it without its end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        finished = sum(len(line) for line in file if line.endswith(b"\n"))
        file.truncate(finished)


def index_answers(path: Path) -> dict[str, LandedAnswer]:
    """Find the answer to each custom_id: the successful one where there is one, else the latest failure.

    Raises
    ------
    InputError : a line is no answer; the file was written or altered by something else.
    """
    landed: dict[str, LandedAnswer] = {}
    if not path.exists():
        return landed
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                answer = json.loads(line)
                custom_id, succeeded = str(answer["custom_id"]), _succeeded(answer)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                raise InputError(
                    f"Line {number} of the answers file {path} is no answer",
                    "Remove that line; its request is then asked again",
                ) from None
            if succeeded or custom_id not in landed or not landed[custom_id].succeeded:
                landed[custom_id] = LandedAnswer(offset, succeeded)
            offset += len(line)
    return landed


def read_answer_at(file: BinaryIO, landed: LandedAnswer) -> JsonObject:
    """Read one answer of an open answers file."""
    file.seek(landed.offset)
    answer: JsonObject = json.loads(file.readline())
    return answer


def _succeeded(answer: JsonObject) -> bool:
    response = answer.get("response")
    return not answer.get("error") and response is not None and response.get("status_code") == 200
