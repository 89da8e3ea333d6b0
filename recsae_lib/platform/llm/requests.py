"""From the evidence of one latent to a request: pure functions, no server and no Spark."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from recsae_lib.config import OpenaiSettings
from recsae_lib.platform.llm.answers import ANSWER_SCHEMA, response_format
from recsae_lib.platform.llm.prompts import Prompt
from recsae_lib.platform.llm.request_files import JsonObject

LEVELS = 10

# Chat templates mark turns with tokens such as <|im_start|>, </s> or [INST], and servers may read these out of item
# text. Written as JSON escapes they mean the same and are no token. Outside strings JSON has neither.
_TURN_TOKENS = re.compile(r"[<>]|\[(?=[A-Z/_])")


def describe_evidence(
    terms: Sequence[Mapping[str, Any]],
    linked_items: Sequence[Mapping[str, Any]],
    near_miss_items: Sequence[Mapping[str, Any]],
) -> JsonObject:
    """Put the evidence of one latent into the words of the prompt.

    Scores are shares of the best term in percent and levels run from 1 to 10 by share of the largest evidence (ours):
    small numbers are easier for a small model, and a sum that differs in its last bits still makes the same request.

    Parameters
    ----------
    terms : rank, term, kind, tfidf, significant.
    linked_items, near_miss_items : rank, title, text, features, weight.
    """
    best_tfidf = max((term["tfidf"] for term in terms), default=0.0)
    largest_weight = max((item["weight"] for item in linked_items), default=0.0)
    return {
        "terms": [
            {
                "term": term["term"],
                "kind": term["kind"],
                "score": _scaled(term["tfidf"], best_tfidf, 100),
                "significant": term["significant"],
            }
            for term in terms
        ],
        "items": [
            {**describe_item(item), "level": _scaled(item["weight"], largest_weight, LEVELS)} for item in linked_items
        ],
        "near_misses": [describe_item(item) for item in near_miss_items],
    }


def build_request(latent_id: int, evidence: JsonObject, prompt: Prompt, settings: OpenaiSettings) -> JsonObject:
    """Build the request about one latent: prompt as system message, evidence as JSON in the user message.

    ``custom_id`` is ``latent-<id>-<digest>``, the digest being the first 32 hex digits of the SHA-256 of the body
    (prompt, evidence, model, sampling and answer schema): what would be asked again in the same words has the same id.
    """
    body = {
        "model": settings.model,
        "messages": [
            {"role": "system", "content": prompt.text},
            {"role": "user", "content": encode_untrusted(evidence)},
        ],
        "temperature": settings.temperature,
        "max_tokens": settings.max_answer_tokens,
        "response_format": response_format("concept", ANSWER_SCHEMA, settings.answer_format),
    }
    return identified_request("latent", latent_id, body)


def identified_request(purpose: str, latent_id: int, body: JsonObject) -> JsonObject:
    """Make a request about a latent of its body; ``custom_id`` is ``<purpose>-<id>-<digest of the body>``."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
    return {
        "custom_id": f"{purpose}-{latent_id}-{digest}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def latent_of(request: JsonObject) -> int:
    """The latent that a request is about."""
    return int(request["custom_id"].split("-")[1])


def evidence_of(request: JsonObject) -> JsonObject:
    """The evidence that a request shows, the inverse of `build_request`."""
    evidence: JsonObject = json.loads(request["body"]["messages"][1]["content"])
    return evidence


def encode_untrusted(evidence: JsonObject) -> str:
    """Encode text of unknown origin as JSON in which no chat template finds a token of its own."""
    text = json.dumps(evidence, ensure_ascii=False)
    return _TURN_TOKENS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def describe_item(item: Mapping[str, Any]) -> JsonObject:
    """What a request shows of an item: title, features, and the text where it says more than the title."""
    described: JsonObject = {"title": item["title"]}
    if item["text"] not in ("", item["title"]):
        described["text"] = item["text"]
    return {**described, "features": list(item["features"])}


def _scaled(value: float, largest: float, top: int) -> int:
    # Rounded before the ceiling, so that 0.7 * 10 = 7.000000000000001 is still level 7.
    return max(1, math.ceil(round(top * value / largest, 6))) if largest > 0 else 1
