"""From a server's answer to a label, or to the reason why it is none. Answers are untrusted."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from recsae_lib.platform.llm.answers import AnswerSchema, ReadJson, RefusedAnswer, clean, read_json
from recsae_lib.platform.llm.request_files import JsonObject

CONCEPT = AnswerSchema(
    "concept",
    {
        "type": "object",
        "properties": {
            "label": {"type": "string", "minLength": 1, "maxLength": 80},
            "description": {"type": "string", "minLength": 1, "maxLength": 600},
            "features": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
        },
        "required": ["label", "description", "features"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True)
class ConceptAnswer:
    """A label that passed every check, as a language model gave it."""

    label: str
    description: str
    features: tuple[str, ...]


def read_label(
    answer: JsonObject | None, shown_features: Iterable[str], shown_text: str
) -> ConceptAnswer | RefusedAnswer:
    """Turn one line of an answers file into a label or a refusal.

    Refused is what `read_json` refuses, and a label in the wrong language as far as the script tells: one without a
    letter of any script that the request is written in. Control characters become blanks. Features that the request
    did not show are dropped; the others get the spelling in which they were shown.

    Parameters
    ----------
    answer : the line, None where the request has none.
    shown_features : item features in the evidence of the request.
    shown_text : prompt and evidence of the request.
    """
    content = read_json(answer, CONCEPT)
    return content if isinstance(content, RefusedAnswer) else _read_concept(content, shown_features, shown_text)


def shown_features(evidence: JsonObject) -> list[str]:
    """Item features of the linked items and terms in the evidence of a request (near misses do not count)."""
    of_items = [feature for item in evidence["items"] for feature in item["features"]]
    return of_items + [term["term"] for term in evidence["terms"] if term["kind"] == "feature"]


def _read_concept(content: ReadJson, shown: Iterable[str], shown_text: str) -> ConceptAnswer | RefusedAnswer:
    concept = content.value
    label, description = clean(concept["label"]), clean(concept["description"])
    if not label or not description:
        return RefusedAnswer("the label or description is blank", content.text)
    if (scripts := _scripts(label)) and not scripts & _scripts(shown_text):
        return RefusedAnswer(f"the label is in another script: {', '.join(sorted(scripts))}", content.text)
    spellings = {feature.strip().casefold(): feature for feature in shown}
    named = (spellings.get(clean(feature).casefold()) for feature in concept["features"])
    return ConceptAnswer(label, description, tuple(dict.fromkeys(feature for feature in named if feature is not None)))


def _scripts(text: str) -> set[str]:
    # The first word of a letter's Unicode name is its script; Japanese writes in three of them.
    letters = filter(str.isalpha, set(unicodedata.normalize("NFKC", text)))
    names = (unicodedata.name(letter, "UNKNOWN").split(maxsplit=1)[0].partition("-")[0] for letter in letters)
    return {"CJK" if name in ("HIRAGANA", "KATAKANA") else name for name in names}
