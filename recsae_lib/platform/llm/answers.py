"""From a server's answer to the JSON that was asked for, or to the reason why it is none. Answers are untrusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema

from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.printable import plain
from recsae_lib.redaction import redacted, without_secrets

LONGEST_ANSWER = 10_000  # characters
MOST_TOKENS = 2**40  # of one request; what a server counts beyond is not believed

UNREAD = "unread"  # in a line of an answers file: what the server sent in a form that is none of an answer

# What a model thinks aloud before it answers; chat templates often write the opening tag themselves.
_THOUGHTS = re.compile(r"\A.*</(?:think|thinking|thought|reasoning)>|\A.*<\|channel\|>final<\|message\|>", re.DOTALL)
_UNENDED_THOUGHTS = re.compile(r"\A\s*(?:<(?:think|thinking|thought|reasoning)>|<\|channel\|>(?!final))")


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

    What a model thought aloud is taken off, and JSON is found in a fence or in prose: the last object that fits.
    Refused are failed requests, refusals of the model, answers that are empty, cut off, longer than `longest`
    characters, no JSON, or not of the schema of `wanted`.

    Parameters
    ----------
    answer : the line, None where the request has none.
    """
    if answer is None:
        return RefusedAnswer("no answer", None)
    if UNREAD in answer:
        return RefusedAnswer(
            "the server's line has another form than an answer", _encodable(json.dumps(answer[UNREAD]))
        )
    if answer.get("error") or answer["response"]["status_code"] != 200:
        return RefusedAnswer(failure_in(answer), None)
    if (choice := completion_in(answer["response"]["body"])) is None:
        return RefusedAnswer("the server sent no chat completion", _encodable(json.dumps(answer["response"]["body"])))
    finish, (text, refusal) = choice.get("finish_reason"), _content_of(choice["message"])
    if refusal:
        return RefusedAnswer("the model refused", _encodable(refusal))
    if not text.strip():
        return RefusedAnswer("empty answer", None)
    if finish == "length":
        return RefusedAnswer("cut off at max_answer_tokens", _encodable(text))
    if finish == "content_filter":
        return RefusedAnswer("stopped by the server's content filter", _encodable(text))
    said = _THOUGHTS.sub("", text)
    if len(said) > longest:
        return RefusedAnswer(f"longer than {longest} characters", _encodable(said))
    return _checked(said, wanted.schema)


def succeeded(answer: JsonObject) -> bool:
    """Whether the server did the (paid) work, rather than fail: a completion, or what cannot be told."""
    response = answer.get("response")
    if UNREAD in answer:
        return True
    if answer.get("error") or not isinstance(response, dict) or response.get("status_code") != 200:
        return False
    return completion_in(response.get("body")) is not None


def completion_in(body: Any) -> JsonObject | None:
    """The first choice of a chat completion, which has a message; None where a server sent something else."""
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return None
    has_failed = body.get("error") or choice.get("error") or choice.get("finish_reason") == "error"
    return None if has_failed and not choice["message"].get("content") else choice


def error_in(told: Any) -> tuple[str | None, str]:
    """Code and message of the error that a server tells of, in OpenAI's form or another, on one line."""
    error = told
    while isinstance(error, dict) and error.get("error"):
        error = error["error"]
    if not isinstance(error, dict):
        return None, one_line(error if isinstance(error, str) else json.dumps(error)) or "no words"
    code, message = error.get("code"), error.get("message") or error.get("detail")
    if not isinstance(message, str):
        message = json.dumps(error)
    return None if code is None or isinstance(code, bool) else one_line(str(code)), one_line(message)


def failure_in(answer: JsonObject) -> str:
    """Code and words of the failure that a line of an answers file tells of."""
    if answer.get("error"):
        return one_line(f"{answer['error'].get('code')}: {answer['error'].get('message')}")
    response = answer.get("response")
    if not isinstance(response, dict):
        return "no answer"
    code = "no_completion" if response.get("status_code") == 200 else f"http_{response.get('status_code')}"
    _, message = error_in(response.get("body"))
    return f"{code}: {message}" if response.get("body") else code


def usage_of(answer: JsonObject) -> tuple[int | None, int | None]:
    """Tokens of prompt and completion as the server counts them, None where it does not say."""
    response = answer.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None, None
    return _token_count(usage.get("prompt_tokens")), _token_count(usage.get("completion_tokens"))


def clean(text: str) -> str:
    """Text from outside on one line, without control characters and invisible ones."""
    return " ".join(plain(_encodable(text)).split())


def one_line(text: str) -> str:
    """Text from outside as one line of at most 500 characters, without control characters and secrets."""
    return clean(redacted(text))[:500]


def _content_of(message: JsonObject) -> tuple[str, str]:
    """What a message says, whole or in parts, and with what words it refuses; what it thought is not read."""
    content, refusal = message.get("content"), str(message.get("refusal") or "")
    if not isinstance(content, list):
        return content if isinstance(content, str) else "", refusal
    parts = [part for part in content if isinstance(part, dict)]
    said = [part["text"] for part in parts if part.get("type", "text") in ("text", "output_text") and _has_text(part)]
    return "".join(said), refusal or "".join(str(part.get("refusal") or "") for part in parts)


def _has_text(part: JsonObject) -> bool:
    return isinstance(part.get("text"), str)


def _checked(text: str, schema: JsonObject) -> ReadJson | RefusedAnswer:
    fault = None
    for value in _values_in(text):
        fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
        if fault is None:
            return ReadJson(value, _encodable(text))
    if fault is None:
        return RefusedAnswer("the answer is no JSON", _encodable(text))
    reason = one_line(f"the answer breaks the schema: {fault.validator} at {fault.json_path}")
    return RefusedAnswer(reason, _encodable(text))


def _values_in(text: str) -> Iterator[Any]:
    """The JSON that a text is, or else the objects in it, the last one first."""
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        if _UNENDED_THOUGHTS.match(text):
            return
    decoder, objects, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            objects.append(value)
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    yield from reversed(objects)


def _encodable(text: str) -> str:
    # JSON can spell half of a surrogate pair, which UTF-8 cannot.
    return without_secrets(text)[:LONGEST_ANSWER].encode("utf-8", "replace").decode()


def _token_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
