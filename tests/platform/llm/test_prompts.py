"""Prompt files: their bytes, and what is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.llm.prompts import load_prompt


def test_a_prompt_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "prompt.md"
    path.write_bytes(b"Line one\r\nLine two \xc3\xa9\n")
    prompt = load_prompt(path)
    assert prompt.text == "Line one\r\nLine two é\n"
    assert prompt.version == hashlib.sha256(b"Line one\r\nLine two \xc3\xa9\n").hexdigest()[:16]


@pytest.mark.parametrize(("content", "cause"), [(None, "Cannot read"), (b"\xff\xfe", "not UTF-8"), (b" \n", "empty")])
def test_a_prompt_that_is_none_is_refused(tmp_path: Path, content: bytes | None, cause: str) -> None:
    path = tmp_path / "prompt.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=cause):
        load_prompt(path)
