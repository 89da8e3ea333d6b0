"""Requests to a language model: known by their content, and safe from the text of others that they show."""

from __future__ import annotations

import hashlib
import json
import re

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.answers import AnswerSchema
from recsae_lib.platform.llm.prompts import Prompt
from recsae_lib.platform.llm.request_files import JsonObject

# Chat templates mark turns with tokens such as <|im_start|>, </s> or [INST], and servers may read these out of the text
# that is shown. Written as JSON escapes they mean the same and are no token. Outside strings JSON has neither.
_TURN_TOKENS = re.compile(r"[<>]|\[(?=[A-Z/_])")
_BOUNDS = ("minLength", "maxLength", "maxItems")


def build_request(
    purpose: str,
    subject: int,
    prompt: Prompt,
    shown: JsonObject,
    answer: AnswerSchema,
    server: LlmSettings,
    *,
    temperature: float | None,
    longest_answer: int,
) -> JsonObject:
    """Build a request: prompt as system message, what is shown as JSON in the user message.

    ``custom_id`` is ``<purpose>-<subject>-<digest>``, the digest being the first 32 hex digits of the SHA-256 of the
    body (prompt, what is shown, model, sampling and answer schema): what would be asked again in the same words has the
    same digest.

    Parameters
    ----------
    purpose, subject : what the request is for and about; only its sender reads them.
    shown : text of unknown origin may be in it.
    server : `model`, `answer_format`, `tokens_field` and `extra_body` are read. What is None is left out.
    temperature : of sampling.
    longest_answer : tokens.
    """
    body: JsonObject = {
        "model": server.model,
        "messages": [
            {"role": "system", "content": prompt.text},
            {"role": "user", "content": encode_untrusted(shown)},
        ],
    }
    if temperature is not None:
        body["temperature"] = temperature
    if server.tokens_field is not None:
        body[server.tokens_field] = longest_answer
    if server.answer_format is not None:
        body["response_format"] = _response_format(answer, server.answer_format)
    body |= server.extra_body
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
    return {
        "custom_id": f"{purpose}-{subject}-{digest}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def subject_of(request: JsonObject) -> int:
    """What a request is about, as given to `build_request`."""
    return int(request["custom_id"].split("-")[1])


def shown_in(request: JsonObject) -> JsonObject:
    """What a request shows, as given to `build_request`."""
    shown: JsonObject = json.loads(request["body"]["messages"][1]["content"])
    return shown


def encode_untrusted(shown: JsonObject) -> str:
    """Encode text of unknown origin as JSON in which no chat template finds a token of its own."""
    text = json.dumps(shown, ensure_ascii=False)
    return _TURN_TOKENS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _response_format(answer: AnswerSchema, answer_format: str) -> JsonObject:
    # Some servers refuse a strict json_schema that bounds lengths: it goes without its bounds, the prompt states them,
    # and reading checks them. What llama.cpp makes of a json_object with its schema keeps to the bounds.
    if answer_format == "json_object":
        return {"type": "json_object", "schema": answer.schema}
    schema = _without_bounds(answer.schema)
    return {"type": "json_schema", "json_schema": {"name": answer.name, "strict": True, "schema": schema}}


def _without_bounds(schema: JsonObject) -> JsonObject:
    return {
        key: _without_bounds(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if key not in _BOUNDS
    }
