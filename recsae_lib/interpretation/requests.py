"""From the evidence of one latent to a request for its label: pure functions, no server and no Spark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recsae_lib.config import InterpretationSettings, LlmSettings
from recsae_lib.interpretation.answers import CONCEPT
from recsae_lib.platform.llm.prompts import Prompt
from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.platform.llm.requests import build_request

LEVELS = 10


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
                "kind": "word" if term["kind"] == "word" else "feature",  # the prompt knows of no other kind
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


def build_label_request(
    latent_id: int, evidence: JsonObject, prompt: Prompt, settings: InterpretationSettings, server: LlmSettings
) -> JsonObject:
    """Build the request for the label of one latent; see `build_request`."""
    return build_request(
        "latent",
        latent_id,
        prompt,
        evidence,
        CONCEPT,
        server,
        temperature=settings.temperature,
        longest_answer=server.max_answer_tokens,
    )


def describe_item(item: Mapping[str, Any]) -> JsonObject:
    """What a request shows of an item: title, features, and the text where it says more than the title."""
    described: JsonObject = {"title": item["title"]}
    if item["text"] not in ("", item["title"]):
        described["text"] = item["text"]
    return {**described, "features": list(item["features"])}


def _scaled(value: float, largest: float, top: int) -> int:
    # Rounded before the ceiling, so that 0.7 * 10 = 7.000000000000001 is still level 7.
    return max(1, math.ceil(round(top * value / largest, 6))) if largest > 0 else 1
