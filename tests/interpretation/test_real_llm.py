"""A real language model, where the environment names a server of one: RECSAE_LLM_URL=http://127.0.0.1:8000/v1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsae_lib.config import InterpretationSettings, LlmSettings
from recsae_lib.interpretation.answers import ConceptAnswer, read_label, shown_features
from recsae_lib.interpretation.requests import build_label_request, describe_evidence
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.llm.request_files import write_requests
from recsae_lib.platform.llm.requests import shown_in
from recsae_lib.platform.llm.transports import submit

PROMPT = Path(__file__).resolve().parents[2] / "conf" / "prompts" / "interpret.md"
URL = os.environ.get("RECSAE_LLM_URL")


@pytest.mark.integration
@pytest.mark.skipif(URL is None, reason="RECSAE_LLM_URL names no server of a language model")
def test_a_real_model_names_an_obvious_concept(tmp_path: Path) -> None:
    llm = LlmSettings.model_validate(
        {
            "base_url": URL,
            "model": os.environ.get("RECSAE_LLM_MODEL", "default"),
            "answer_format": os.environ.get("RECSAE_LLM_FORMAT", "json_schema"),
            "timeout_seconds": 600.0,
        }
    )
    titles = ("Alien", "Aliens", "Star Wars", "Dune", "Solaris", "Interstellar")
    items = [
        {"title": title, "text": "A film in outer space.", "features": ["Sci-Fi"], "weight": 9.0 - rank}
        for rank, title in enumerate(titles)
    ]
    term = {"term": "Sci-Fi", "kind": "feature", "tfidf": 0.5, "significant": True}
    evidence = describe_evidence([term], items, [])
    requests_path = tmp_path / "requests.jsonl"
    request = build_label_request(1, evidence, load_prompt(PROMPT), InterpretationSettings(), llm)
    write_requests(requests_path, [request])
    with Ledger.open(tmp_path / "ledger.sqlite", "2026-11-20 tests", requests_path, llm) as ledger:
        ledger.intend("inline")
        submit(ledger, llm, lambda done, total: None)
        [(request, line)] = ledger.read_answers()
        [(_, record)] = ledger.records()
    assert record.state == "answered"
    assert record.completion_tokens
    answer = read_label(line, shown_features(shown_in(request)), request["body"]["messages"][1]["content"])
    assert isinstance(answer, ConceptAnswer), answer
    words = f"{answer.label} {answer.description}".lower()
    assert any(word in words for word in ("sci", "space", "alien", "future", "galax"))
