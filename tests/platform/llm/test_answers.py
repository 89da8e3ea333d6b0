"""Answers of a server: JSON only from what passes every check."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.platform.llm.answers import (
    AnswerSchema,
    ReadJson,
    RefusedAnswer,
    error_in,
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
        (f"<think>So {GOOD}", "the answer is no JSON"),
        ('Well: {"colour": 3}.', "the answer breaks the schema: type at $.colour"),
        ("{" * 9_999, "the answer is no JSON"),
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
        (
            landed({"error": {"message": "max_tokens is not supported"}}, status=400),
            RefusedAnswer("http_400: max_tokens is not supported", None),
        ),
        (
            {"custom_id": "a", "response": None, "error": None, "unread": {"result": 1}},
            RefusedAnswer("the server's line has another form than an answer", '{"result": 1}'),
        ),
        (None, RefusedAnswer("no answer", None)),
    ],
)
def test_what_is_no_whole_answer_is_refused(answer: Any, refused: RefusedAnswer) -> None:
    assert read_json(answer, WANTED) == refused


def test_a_failed_request_is_refused_with_its_failure() -> None:
    failed = {"custom_id": "a", "response": None, "error": {"code": "timeout", "message": "no answer\nin time"}}
    assert read_json(failed, WANTED) == RefusedAnswer("timeout: no answer in time", None)


@pytest.mark.parametrize(
    "content",
    [
        f"```json\n{GOOD}\n```",
        f'<think>Is it {{"colour": "blue"}}? No.</think>\n{GOOD}',
        f"red it is.</think>{GOOD}",
        f'<|channel|>analysis<|message|>{{"colour": "blue"}}<|end|><|channel|>final<|message|>{GOOD}',
        f'Sure {{as you wish}}! The form is {{"colour": "blue"}}, my answer {GOOD} and that is that.',
        f"<think>{'x' * 20_000}</think>{GOOD}",
        [{"type": "thinking", "text": '{"colour": "blue"}'}, {"type": "text", "text": GOOD[:9]}, {"text": GOOD[9:]}],
    ],
)
def test_thoughts_fences_prose_and_parts_are_no_obstacle(content: Any) -> None:
    read = read_json(completed(content), WANTED)
    assert isinstance(read, ReadJson)
    assert read.value == {"colour": "red"}


def test_a_refusal_in_parts_is_one() -> None:
    parts = [{"type": "refusal", "refusal": "I cannot."}]
    assert read_json(completed(parts), WANTED) == RefusedAnswer("the model refused", "I cannot.")


def test_no_text_of_an_answer_tells_a_known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "canary-5f0c")
    assert read_json(completed("my key is canary-5f0c"), WANTED) == RefusedAnswer(
        "the answer is no JSON", "my key is ***"
    )
    assert one_line("x" * 490 + " canary-5f0c") == "x" * 490 + " ***"


@given(st.text() | st.from_regex(r'\{"colour": ?".*"\}', fullmatch=True))
def test_no_text_breaks_the_reader(content: str) -> None:
    read = read_json(completed(content), WANTED)
    if isinstance(read, ReadJson):
        assert WANTED.schema["required"][0] in read.value
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


@pytest.mark.parametrize(
    "body",
    [
        *({}, None, "hello", {"error": {"message": "lost"}}, {"choices": []}, {"choices": None}, {"choices": [None]}),
        {"choices": [{"message": None}]},
        {"choices": [{"finish_reason": "error", "message": {"content": ""}}]},
        {"error": {"code": 502}, "choices": [{"message": {"content": None}}]},
    ],
)
def test_a_response_without_completion_has_not_succeeded(body: Any) -> None:
    assert not succeeded(landed(body))


def test_only_a_whole_response_has_succeeded() -> None:
    error, whole = {"code": "timeout", "message": ""}, completed("red")
    lines = [whole, {**whole, "response": None}, {"response": None, "error": error}, {**whole, "error": error}]
    assert [succeeded(line) for line in lines] == [True, False, False, False]
    assert not succeeded(landed(whole["response"]["body"], status=500))


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"error": {"message": "no such model", "code": "gone"}}, ("gone", "no such model")),
        ({"message": "no such model", "code": 7}, ("7", "no such model")),
        ({"error": "no such model"}, (None, "no such model")),
        ({"detail": "no such model"}, (None, "no such model")),
        ({"error": {"message": ["no such model"]}}, (None, '{"message": ["no such model"]}')),
        (["no such model"], (None, '["no such model"]')),
        ("<h1>no such model</h1>\n", (None, "<h1>no such model</h1>")),
        ("", (None, "no words")),
    ],
)
def test_an_error_is_understood_in_any_form(told: Any, error: tuple[str | None, str]) -> None:
    assert error_in(told) == error
