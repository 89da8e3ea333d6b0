"""Answers of a server: JSON only from what passes every check."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.platform.llm.answers import (
    AnswerSchema,
    ReadJson,
    RefusedAnswer,
    one_line,
    read_json,
    succeeded,
    usage_of,
)
from tests.answer_lines import completed, landed

WANTED = AnswerSchema(
    "colour",
    {"type": "object", "properties": {"colour": {"type": "string", "maxLength": 9}}, "required": ["colour"]},
)
GOOD = '{"colour": "red"}'


def test_an_answer_that_fits_is_read_with_its_text() -> None:
    assert read_json(completed(GOOD), WANTED) == ReadJson({"colour": "red"}, GOOD)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"colour": 3}', "the answer breaks the schema: type at $.colour"),
        ('{"colour": "vermilion red"}', "the answer breaks the schema: maxLength at $.colour"),
        ("{}", "the answer breaks the schema: required at $"),
        ('["red"]', "the answer breaks the schema: type at $"),
        (GOOD[:-2], "the answer is no JSON"),
        ("red", "the answer is no JSON"),
        (f"```json\n{GOOD}\n```", "the answer is no JSON"),
        ("[" * 9_999, "the answer is no JSON"),
        ('{"colour": ' + "9" * 5_000, "the answer is no JSON"),
        (GOOD + " " * 10_000, "longer than 10000 characters"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_text(content: str, reason: str) -> None:
    assert read_json(completed(content), WANTED) == RefusedAnswer(reason, content[:10_000])


@pytest.mark.parametrize("content", [None, "", " \n", ["red"]])
def test_an_answer_without_text_is_empty(content: Any) -> None:
    assert read_json(completed(content), WANTED) == RefusedAnswer("empty answer", None)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (completed(GOOD, finish="length"), RefusedAnswer("cut off at max_answer_tokens", GOOD)),
        (completed("So", finish="content_filter"), RefusedAnswer("stopped by the server's content filter", "So")),
        (completed(None, refusal="I cannot."), RefusedAnswer("the model refused", "I cannot.")),
        (landed({"choices": []}), RefusedAnswer("the server sent no chat completion", '{"choices": []}')),
        (landed("hello"), RefusedAnswer("the server sent no chat completion", '"hello"')),
        (
            landed({"choices": [{"message": None}]}),
            RefusedAnswer("the server sent no chat completion", '{"choices": [{"message": null}]}'),
        ),
        (landed({}, status=400), RefusedAnswer("http_400", None)),
        (None, RefusedAnswer("no answer", None)),
    ],
)
def test_what_is_no_whole_answer_is_refused(answer: Any, refused: RefusedAnswer) -> None:
    assert read_json(answer, WANTED) == refused


def test_a_failed_request_is_refused_with_its_failure() -> None:
    failed = {"custom_id": "a", "response": None, "error": {"code": "timeout", "message": "no answer\nin time"}}
    assert read_json(failed, WANTED) == RefusedAnswer("timeout: no answer in time", None)


@given(st.text() | st.from_regex(r'\{"colour": ?".*"\}', fullmatch=True))
def test_no_text_breaks_the_reader(content: str) -> None:
    read = read_json(completed(content), WANTED)
    if isinstance(read, ReadJson):
        assert read.value == json.loads(content)
        read.text.encode()
    else:
        assert read.reason
        (read.answer or "").encode()


def test_text_from_outside_is_one_bounded_line() -> None:
    assert one_line("a\x1b[31m\n\u202eb \ud800" + "x" * 600) == "a [31m b ?" + "x" * 490


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 70, "completion_tokens": 9}, (70, 9)),
        ({"prompt_tokens": -1, "completion_tokens": 2**41}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": "9"}, (None, None)),
        ([70, 9], (None, None)),
    ],
)
def test_only_counts_that_can_be_are_believed(usage: Any, tokens: tuple[int | None, int | None]) -> None:
    assert usage_of(landed({"usage": usage})) == tokens


def test_only_a_whole_response_has_succeeded() -> None:
    error = {"code": "timeout", "message": ""}
    lines = [landed({}), landed({}, status=500), {"response": None, "error": error}, {**landed({}), "error": error}]
    assert [succeeded(line) for line in lines] == [True, False, False, False]
