from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.remote_names import (
    artifact_address,
    file_name,
    finite_number,
    hexadecimal_name,
    positive_number,
    relative_path,
    server_id,
    sha256_digest,
)

TRACKING = "http://mlflow:5000"


def address(text: str, what: str) -> str:
    return artifact_address(text, TRACKING, what)


def named(value: Any) -> str | None:
    """Id of a parameter: the name of a door; pytest's own of a text."""
    return getattr(value, "__name__", None)


DOORS: tuple[Callable[[str, str], Any], ...] = (
    *(sha256_digest, hexadecimal_name, file_name, relative_path, server_id, positive_number, finite_number, address),
)
# No door takes any of these.
HOSTILE = {
    "a way up": "../../etc/passwd",
    "a way up in a folder": "a/../../b",
    "a way up in Windows": "..\\..\\b",
    "the folder above": "..",
    "NUL": "a\0b",
    "a line break": "abc\n",
    "a return": "abc\r\nHost: elsewhere",
    "an escape": "\x1b[2J",
    "C1 control": "a\x9bb",
    "writing direction": "a\u202efdp.exe",
    "a blank of no width": "a\u200bb",
    "a full-width slash": "a\uff0fb",
    "a division slash": "a\u2215b",
    "leaders for dots": "\u2025/x",
    "full-width digits": "\uff11" * 64,
    "Cyrillic a": "\u0430" * 64,
    "too long": "a" * 100_000,
    "half a pair": "\ud800",
    "a query": "a?b=c",
    "a fragment": "a#b",
    "a percent escape": "%2e%2e%2fb",
}
GOOD: list[tuple[Callable[[str, str], Any], str]] = [
    (sha256_digest, "0123456789abcdef" * 4),
    (hexadecimal_name, "0123456789abcdef" * 2),
    *((file_name, name) for name in ("weights.safetensors", "allbut.pl", ".hidden", "u1 (copy).base", "..a")),
    *((relative_path, path) for path in ("a", "initial/sae.json", "a/b/c.d")),
    *((server_id, name) for name in ("batch_6f", "file-AbC1", "vllm:1.2", "bGl0ZWxsbQ==", "a..b")),
    *((positive_number, number) for number in ("1", "42", "999999999999999999")),
    *((finite_number, number) for number in ("0.9312", "-1.5", "1e-07")),
    *((address, place) for place in ("s3://models/shop/1", "file:///srv/b%C3%A9/1", "models:/m-1f", "/srv/mlflow/1")),
    *((address, place) for place in ("mlflow-artifacts:/1/a", "mlflow-artifacts://mlflow:5000/1", "runs:/1f/model")),
]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("door", DOORS, ids=named)
def test_no_door_takes_it(door: Callable[[str, str], Any], text: str) -> None:
    with pytest.raises(InputError, match=r"^What came is ") as refusal:
        door(text, "What came")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("door", "text"),
    [
        (sha256_digest, "0" * 63),
        (sha256_digest, "A" * 64),
        (hexadecimal_name, "0" * 31),
        *((door, "") for door in DOORS[:-1]),
        *((door, "/absolute") for door in (file_name, relative_path, server_id)),
        *((file_name, name) for name in (".", "a/b", "c:b", "a" * 256)),
        *((relative_path, path) for path in ("a//b", "a/", "./a", "a/" * 600 + "a")),
        *((server_id, name) for name in (".", "...", "a/b", "a b")),
        *((positive_number, number) for number in ("0", "-1", "+1", "1.0", "1e3", "0x1", " 1", "01", "1" * 19)),
        *((finite_number, number) for number in ("nan", "inf", "1e999", "1_0", ".5", " 1", "0x1", "")),
        *((address, place) for place in ("http://mlflow:5000/a", "ftp://a/b", "https://[", "jar:file:///a!/b")),
        *(
            (address, place)
            for place in ("s3://key@models/a", "mlflow-artifacts://mlflow:5001/1", "s3://m/a/%252e%252e")
        ),
    ],
    ids=named,
)
def test_each_door_takes_its_own_form_alone(door: Callable[[str, str], Any], text: str) -> None:
    with pytest.raises(InputError, match="It is not used"):
        door(text, "What came")


@pytest.mark.parametrize(("door", "text"), GOOD, ids=named)
def test_what_is_right_passes_unchanged(door: Callable[[str, str], Any], text: str) -> None:
    assert str(door(text, "What came")) == text
