"""From a server's answer to a label, or to the reason why it is none. Answers are untrusted."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jsonschema

from recsae_lib.platform.llm.request_files import JsonObject

LONGEST_ANSWER = 10_000  # characters

ANSWER_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "minLength": 1, "maxLength": 80},
        "description": {"type": "string", "minLength": 1, "maxLength": 600},
        "features": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
    },
    "required": ["label", "description", "features"],
    "additionalProperties": False,
}

_BOUNDS = ("minLength", "maxLength", "maxItems")
_KEPT_FORMAT_CHARACTERS = "\u200c\u200d"  # joiners that Persian and Indic scripts spell with


def _without_bounds(schema: JsonObject) -> JsonObject:
    return {
        key: _without_bounds(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if key not in _BOUNDS
    }


def response_format(name: str, schema: JsonObject, answer_format: str) -> JsonObject:
    """Ask for an answer of `schema`.

    Some servers refuse a strict ``json_schema`` that bounds lengths: it goes without its bounds, the prompt states
    them, and reading checks them. What llama.cpp makes of a ``json_object`` with its schema keeps to the bounds.

    Parameters
    ----------
    answer_format : of `OpenaiSettings`.
    """
    if answer_format == "json_object":
        return {"type": "json_object", "schema": schema}
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": _without_bounds(schema)}}


@dataclass(frozen=True)
class ConceptAnswer:
    """A label that passed every check, as a language model gave it."""

    label: str
    description: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class RefusedAnswer:
    """An answer that is no label.

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


def read_answer(
    answer: JsonObject | None, shown_features: Iterable[str], shown_text: str
) -> ConceptAnswer | RefusedAnswer:
    """Turn one line of an answers file into a label or a refusal.

    Refused are failed requests, refusals of the model, answers that are empty, cut off, longer than 10,000 characters,
    no JSON, not of `ANSWER_SCHEMA`, or in the wrong language as far as the script tells: a label without a letter of
    any script that the request is written in. Control characters become blanks. Features that the request did not
    show are dropped; the others get the spelling in which they were shown.

    Parameters
    ----------
    answer : the line, None where the request has none.
    shown_features : item features in the evidence of the request.
    shown_text : prompt and evidence of the request.
    """
    content = read_json(answer, ANSWER_SCHEMA)
    return content if isinstance(content, RefusedAnswer) else _read_concept(content, shown_features, shown_text)


def read_json(answer: JsonObject | None, schema: JsonObject, longest: int = LONGEST_ANSWER) -> ReadJson | RefusedAnswer:
    """Turn one line of an answers file into the JSON that the model wrote, or a refusal.

    Refused are failed requests, refusals of the model, answers that are empty, cut off, longer than `longest`
    characters, no JSON, or not of `schema`.

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
    return _checked(text, schema)


def shown_features(evidence: JsonObject) -> list[str]:
    """Item features of the linked items and terms in the evidence of a request (near misses do not count)."""
    of_items = [feature for item in evidence["items"] for feature in item["features"]]
    return of_items + [term["term"] for term in evidence["terms"] if term["kind"] == "feature"]


def one_line(text: str) -> str:
    """Text from outside as one line of at most 500 characters without control characters."""
    return _clean(text)[:500]


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


def _read_concept(content: ReadJson, shown: Iterable[str], shown_text: str) -> ConceptAnswer | RefusedAnswer:
    concept = content.value
    label, description = _clean(concept["label"]), _clean(concept["description"])
    if not label or not description:
        return RefusedAnswer("the label or description is blank", content.text)
    if (scripts := _scripts(label)) and not scripts & _scripts(shown_text):
        return RefusedAnswer(f"the label is in another script: {', '.join(sorted(scripts))}", content.text)
    spellings = {feature.strip().casefold(): feature for feature in shown}
    named = (spellings.get(_clean(feature).casefold()) for feature in concept["features"])
    return ConceptAnswer(label, description, tuple(dict.fromkeys(feature for feature in named if feature is not None)))


def _scripts(text: str) -> set[str]:
    # The first word of a letter's Unicode name is its script; Japanese writes in three of them.
    letters = filter(str.isalpha, set(unicodedata.normalize("NFKC", text)))
    names = (unicodedata.name(letter, "UNKNOWN").split(maxsplit=1)[0].partition("-")[0] for letter in letters)
    return {"CJK" if name in ("HIRAGANA", "KATAKANA") else name for name in names}


def _clean(text: str) -> str:
    characters = (
        character if character in _KEPT_FORMAT_CHARACTERS else _without_control(character)
        for character in _encodable(text)
    )
    return " ".join("".join(characters).split())


def _without_control(character: str) -> str:
    # Cc: control characters, line breaks included. Cf: invisible ones, such as those that turn the writing direction.
    return {"Cc": " ", "Cf": ""}.get(unicodedata.category(character), character)


def _encodable(text: str) -> str:
    # JSON can spell half of a surrogate pair, which UTF-8 cannot.
    return text[:LONGEST_ANSWER].encode("utf-8", "replace").decode()
