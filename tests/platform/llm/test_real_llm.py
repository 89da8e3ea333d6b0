"""A real language model, where the environment names a server of one: RECSAE_LLM_URL=http://127.0.0.1:8000/v1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsae_lib.config import InterpretationSettings
from recsae_lib.platform.llm.answers import ConceptAnswer, read_answer, shown_features
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.llm.request_files import write_requests
from recsae_lib.platform.llm.requests import build_request, describe_evidence, evidence_of
from recsae_lib.platform.llm.transports import submit

PROMPT = Path(__file__).resolve().parents[3] / "conf" / "prompts" / "interpret.md"
URL = os.environ.get("RECSAE_LLM_URL")


@pytest.mark.integration
@pytest.mark.skipif(URL is None, reason="RECSAE_LLM_URL names no server of a language model")
def test_a_real_model_names_an_obvious_concept(tmp_path: Path) -> None:
    settings = InterpretationSettings.model_validate(
        {
            "openai": {
                "base_url": URL,
                "model": os.environ.get("RECSAE_LLM_MODEL", "default"),
                "answer_format": os.environ.get("RECSAE_LLM_FORMAT", "json_schema"),
                "timeout_seconds": 600.0,
            }
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
    write_requests(requests_path, [build_request(1, evidence, load_prompt(PROMPT), settings.openai)])
    with Ledger.open(tmp_path / "ledger.sqlite", "2026-11-20 tests", requests_path, settings.openai) as ledger:
        ledger.intend("inline")
        submit(ledger, settings, lambda done, total: None)
        [(request, line)] = ledger.read_answers()
        [(_, record)] = ledger.records()
    assert record.state == "answered"
    assert record.completion_tokens
    answer = read_answer(line, shown_features(evidence_of(request)), request["body"]["messages"][1]["content"])
    assert isinstance(answer, ConceptAnswer), answer
    words = f"{answer.label} {answer.description}".lower()
    assert any(word in words for word in ("sci", "space", "alien", "future", "galax"))
