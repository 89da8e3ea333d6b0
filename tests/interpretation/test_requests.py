"""From evidence to the request for a label: its form, and its identity by content."""

from __future__ import annotations

from typing import Any

from recsae_lib.config import InterpretationSettings, LlmSettings
from recsae_lib.interpretation.requests import build_label_request, describe_evidence
from recsae_lib.platform.llm.prompts import Prompt
from recsae_lib.platform.llm.requests import shown_in, subject_of

PROMPT = Prompt("Name the latent.\n", "0" * 16)
SERVER = LlmSettings(model="small", max_answer_tokens=200)
EVIDENCE = {"terms": [], "items": [{"title": "Alien", "features": ["Horror"], "level": 10}], "near_misses": []}


def request_of(
    latent_id: int = 1,
    evidence: dict[str, Any] = EVIDENCE,
    prompt: Prompt = PROMPT,
    temperature: float | None = 0.6,
    **server: Any,
) -> dict[str, Any]:
    settings = InterpretationSettings(temperature=temperature)
    return build_label_request(latent_id, evidence, prompt, settings, SERVER.model_copy(update=server))


def test_a_request_is_a_line_of_the_batch_format() -> None:
    request = request_of(17)
    assert sorted(request) == ["body", "custom_id", "method", "url"]
    assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
    assert subject_of(request) == 17
    assert shown_in(request) == EVIDENCE
    assert len(request["custom_id"]) <= 64
    body = request["body"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == "Name the latent.\n"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("small", 0.6, 200)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "concept",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "description": {"type": "string"},
                    "features": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["label", "description", "features"],
                "additionalProperties": False,
            },
        },
    }


def test_a_json_object_is_asked_for_with_the_schema_and_bounds() -> None:
    assert request_of(answer_format="json_object")["body"]["response_format"] == {
        "type": "json_object",
        "schema": {
            "type": "object",
            "properties": {
                "label": {"type": "string", "minLength": 1, "maxLength": 80},
                "description": {"type": "string", "minLength": 1, "maxLength": 600},
                "features": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
            },
            "required": ["label", "description", "features"],
            "additionalProperties": False,
        },
    }


def test_each_field_of_a_request_can_be_left_out_or_added() -> None:
    left_out = request_of(temperature=None, tokens_field=None, answer_format=None)["body"]
    assert sorted(left_out) == ["messages", "model"]
    added = request_of(tokens_field="max_completion_tokens", extra_body={"reasoning_effort": "low", "temperature": 1})
    assert sorted(added["body"].keys() - left_out) == [
        *("max_completion_tokens", "reasoning_effort", "response_format", "temperature"),
    ]
    assert (added["body"]["max_completion_tokens"], added["body"]["temperature"]) == (200, 1)


def test_the_identity_changes_with_whatever_changes_the_answer() -> None:
    other_evidence = {**EVIDENCE, "near_misses": [{"title": "Jaws", "features": []}]}
    requests = [
        request_of(),
        request_of(2),
        request_of(evidence=other_evidence),
        request_of(prompt=Prompt("Name it.", "1" * 16)),
        request_of(temperature=0.5),
        request_of(model="large"),
        request_of(max_answer_tokens=300),
        request_of(tokens_field="max_completion_tokens"),
        request_of(extra_body={"top_k": 1}),
    ]
    assert len({request["custom_id"] for request in requests}) == 9
    assert request_of(concurrency=99, timeout_seconds=1.0, transport="batch") == requests[0]


def test_the_identity_is_the_one_that_ledgers_know() -> None:
    # Written down before section llm was: another digest would be asked, and paid for, again.
    assert request_of(17)["custom_id"] == "latent-17-359ec36427847fba0de2ee3e626592ef"
    assert request_of(17, answer_format="json_object")["custom_id"] == "latent-17-c74a495d29d336d0d608c59fb9e456b1"
    by_default = build_label_request(17, EVIDENCE, PROMPT, InterpretationSettings(), LlmSettings())
    assert by_default["custom_id"] == "latent-17-584ba9023fb11e6bf40c986c06590912"


def test_scores_and_levels_are_shares_of_the_largest() -> None:
    term = {"kind": "word", "significant": True}
    item = {"text": "", "features": ["Horror"]}
    described = describe_evidence(
        [{"term": "alien", "tfidf": 0.8, **term}, {"term": "ship", "tfidf": 0.1, **term}],
        [
            {"title": "Alien", "weight": 3.0, **item},
            {"title": "Aliens", "weight": 2.1, **item},
            {"title": "Jaws", "weight": 0.001, **item},
        ],
        [{"title": "Heat", "weight": 0.0, "text": "A heist.", "features": []}],
    )
    assert [(term["term"], term["score"]) for term in described["terms"]] == [("alien", 100), ("ship", 13)]
    assert [(item["title"], item["level"]) for item in described["items"]] == [
        ("Alien", 10),
        ("Aliens", 7),
        ("Jaws", 1),
    ]
    assert described["near_misses"] == [{"title": "Heat", "text": "A heist.", "features": []}]


def test_sums_in_another_order_make_the_same_request() -> None:
    def request(weights: tuple[float, ...]) -> str:
        items = [{"title": "A", "text": "A", "features": [], "weight": weight} for weight in weights]
        return str(request_of(evidence=describe_evidence([], items, []))["custom_id"])

    assert request((1.0, 0.1 + 0.2)) == request((1.0, 0.3))


def test_a_text_that_repeats_the_title_is_shown_once() -> None:
    item = {"title": "Alien", "text": "Alien", "features": (), "weight": 1.0}
    assert describe_evidence([], [item], [])["items"] == [{"title": "Alien", "features": [], "level": 10}]
