"""From a server's answer to the JSON that was asked for, or to the reason why it is none. Answers are untrusted."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Any

import jsonschema

from recsae_lib.platform.llm.request_files import JsonObject

LONGEST_ANSWER = 10_000  # characters
MOST_TOKENS = 2**40  # of one request; what a server counts beyond is not believed

_KEPT_FORMAT_CHARACTERS = "\u200c\u200d"  # joiners that Persian and Indic scripts spell with


@dataclass(frozen=True)
class AnswerSchema:
    """The JSON that an answer has to be: the name that a request gives it, and its JSON schema."""

    name: str
    schema: JsonObject


@dataclass(frozen=True)
class RefusedAnswer:
    """An answer that cannot be used.

    Parameters
    ----------
    reason : why, in one line.
    answer : what the model wrote, at most 10,000 characters; None where it wrote nothing.
    """

    reason: str
    answer: str | None


@dataclass(frozen=True)
class ReadJson:
    """An answer that is JSON of the schema asked for.

    Parameters
    ----------
    value : what it says.
    text : what the model wrote, at most 10,000 characters.
    """

    value: Any
    text: str


def read_json(
    answer: JsonObject | None, wanted: AnswerSchema, longest: int = LONGEST_ANSWER
) -> ReadJson | RefusedAnswer:
    """Turn one line of an answers file into the JSON that the model wrote, or a refusal.

    Refused are failed requests, refusals of the model, answers that are empty, cut off, longer than `longest`
    characters, no JSON, or not of the schema of `wanted`.

    Parameters
    ----------
    answer : the line, None where the request has none.
    """
    if answer is None:
        return RefusedAnswer("no answer", None)
    if answer.get("error"):
        return RefusedAnswer(one_line(f"{answer['error'].get('code')}: {answer['error'].get('message')}"), None)
    response = answer["response"]
    if response["status_code"] != 200:
        return RefusedAnswer(f"http_{response['status_code']}", None)
    try:
        choice = response["body"]["choices"][0]
        finish, message = choice.get("finish_reason"), choice["message"]
        refusal, content = message.get("refusal"), message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return RefusedAnswer("the server sent no chat completion", _encodable(json.dumps(response["body"])))
    if refusal:
        return RefusedAnswer("the model refused", _encodable(str(refusal)))
    text = content if isinstance(content, str) else ""
    if not text.strip():
        return RefusedAnswer("empty answer", None)
    if finish == "length":
        return RefusedAnswer("cut off at max_answer_tokens", _encodable(text))
    if finish == "content_filter":
        return RefusedAnswer("stopped by the server's content filter", _encodable(text))
    if len(text) > longest:
        return RefusedAnswer(f"longer than {longest} characters", _encodable(text))
    return _checked(text, wanted.schema)


def succeeded(answer: JsonObject) -> bool:
    """Whether the server did the (paid) work, rather than fail."""
    response = answer.get("response")
    return not answer.get("error") and isinstance(response, dict) and response.get("status_code") == 200


def usage_of(answer: JsonObject) -> tuple[int | None, int | None]:
    """Tokens of prompt and completion as the server counts them, None where it does not say."""
    response = answer.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None, None
    return _token_count(usage.get("prompt_tokens")), _token_count(usage.get("completion_tokens"))


def clean(text: str) -> str:
    """Text from outside on one line, without control characters."""
    characters = (
        character if character in _KEPT_FORMAT_CHARACTERS else _without_control(character)
        for character in _encodable(text)
    )
    return " ".join("".join(characters).split())


def one_line(text: str) -> str:
    """Text from outside as one line of at most 500 characters without control characters."""
    return clean(text)[:500]


def _checked(text: str, schema: JsonObject) -> ReadJson | RefusedAnswer:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return RefusedAnswer("the answer is no JSON", _encodable(text))
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    if fault is not None:
        reason = one_line(f"the answer breaks the schema: {fault.validator} at {fault.json_path}")
        return RefusedAnswer(reason, _encodable(text))
    return ReadJson(value, _encodable(text))


def _without_control(character: str) -> str:
    # Cc: control characters, line breaks included. Cf: invisible ones, such as those that turn the writing direction.
    return {"Cc": " ", "Cf": ""}.get(unicodedata.category(character), character)


def _encodable(text: str) -> str:
    # JSON can spell half of a surrogate pair, which UTF-8 cannot.
    return text[:LONGEST_ANSWER].encode("utf-8", "replace").decode()


def _token_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
