"""From answers to labels: only from what passes every check."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.interpretation.answers import ConceptAnswer, read_label, shown_features
from recsae_lib.platform.llm.answers import RefusedAnswer
from tests.answer_lines import completed

SHOWN = ["Sci-Fi", "Horror"]
SHOWN_TEXT = "Name it. Sci-Fi, Horror"
GOOD = {"label": "Space horror", "description": "Users who like both.", "features": ["Horror"]}


def with_fields(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


def test_an_answer_that_fits_is_a_label() -> None:
    assert read_label(completed(json.dumps(GOOD)), SHOWN, SHOWN_TEXT) == ConceptAnswer(
        "Space horror", "Users who like both.", ("Horror",)
    )


def test_only_shown_features_are_kept_and_spelt_as_shown() -> None:
    answer = read_label(completed(with_fields(features=["sci-fi ", "Western", "HORROR", "Sci-Fi"])), SHOWN, SHOWN_TEXT)
    assert isinstance(answer, ConceptAnswer)
    assert answer.features == ("Sci-Fi", "Horror")


def test_control_characters_leave_a_label() -> None:
    dirty = with_fields(label="Space\x1b[31m\u202e horror\n\x00!", description="Half a pair: \ud800 می\u200cخواهم")
    answer = read_label(completed(dirty), SHOWN, SHOWN_TEXT)
    assert isinstance(answer, ConceptAnswer)
    assert answer.label == "Space [31m horror !"
    assert answer.description == "Half a pair: ? می\u200cخواهم"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (with_fields(label=""), "the answer breaks the schema: minLength at $.label"),
        (with_fields(label="x" * 81), "the answer breaks the schema: maxLength at $.label"),
        (with_fields(description="x" * 601), "the answer breaks the schema: maxLength at $.description"),
        (with_fields(features=["Horror"] * 11), "the answer breaks the schema: maxItems at $.features"),
        (with_fields(features=[1]), "the answer breaks the schema: type at $.features[0]"),
        (with_fields(label=None), "the answer breaks the schema: type at $.label"),
        (with_fields(mood="dark"), "the answer breaks the schema: additionalProperties at $"),
        ('{"label": "Space"}', "the answer breaks the schema: required at $"),
        ('["Space"]', "the answer breaks the schema: type at $"),
        (with_fields(label=" \u200b\x00"), "the label or description is blank"),
        (json.dumps(GOOD)[:-5], "the answer is no JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_text(content: str, reason: str) -> None:
    assert read_label(completed(content), SHOWN, SHOWN_TEXT) == RefusedAnswer(reason, content[:10_000])


@pytest.mark.parametrize(
    ("label", "script"),
    [("太空恐怖", "CJK"), ("Космос", "CYRILLIC"), ("さくら", "CJK"), ("공포", "HANGUL")],
)
def test_a_label_in_a_script_that_was_not_shown_is_refused(label: str, script: str) -> None:
    content = with_fields(label=label)
    refused = RefusedAnswer(f"the label is in another script: {script}", content)
    assert read_label(completed(content), SHOWN, SHOWN_TEXT) == refused
    answer = read_label(completed(content), SHOWN, f"{SHOWN_TEXT} {label[0]}")
    assert isinstance(answer, ConceptAnswer)
    assert answer.label == label


@pytest.mark.parametrize("label", ["Caf\u00e9 films", "\uff26ilms", "1984", "R&B 太空", "Sci-Fi → 80s"])
def test_a_label_with_a_letter_of_the_request_or_none_is_kept(label: str) -> None:
    answer = read_label(completed(with_fields(label=label)), SHOWN, SHOWN_TEXT)
    assert isinstance(answer, ConceptAnswer)
    assert answer.label == label


@given(st.text() | st.from_regex(r'\{"label": ?".*", "description": ?".*", "features": \[".*"\]\}', fullmatch=True))
def test_no_text_breaks_the_reader_or_passes_its_bounds(content: str) -> None:
    answer = read_label(completed(content), SHOWN, SHOWN_TEXT)
    if isinstance(answer, ConceptAnswer):
        assert 1 <= len(answer.label) <= 80
        assert 1 <= len(answer.description) <= 600
        assert set(answer.features) <= set(SHOWN)
        kinds = {unicodedata.category(character) for character in answer.label + answer.description} - {"Cf"}
        assert not kinds & {"Cc", "Cs"}
    else:
        assert answer.reason
        (answer.answer or "").encode()


def test_features_are_those_of_linked_items_and_terms() -> None:
    evidence = {
        "terms": [{"term": "Noir", "kind": "feature"}, {"term": "ship", "kind": "word"}],
        "items": [{"title": "A", "features": ["Sci-Fi", "Horror"]}],
        "near_misses": [{"title": "B", "features": ["Western"]}],
    }
    assert shown_features(evidence) == ["Sci-Fi", "Horror", "Noir"]
