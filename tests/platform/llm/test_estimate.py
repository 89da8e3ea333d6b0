"""What is said of tokens and cost before anything is asked."""

from __future__ import annotations

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.estimate import RequestEstimate


def test_cost_follows_from_characters_and_prices() -> None:
    estimate = RequestEstimate(requests=10, prompt_characters=8_000_000, completion_characters=400_000)
    prices = {"price_per_million_prompt_tokens": 0.5, "price_per_million_completion_tokens": 3.0}
    asked, cost = estimate.lines(LlmSettings(model="small", **prices))
    assert asked == (
        "10 requests to small, about 2,000,000 prompt tokens and 100,000 completion tokens "
        "(estimated as characters / 4)"
    )
    assert cost == "cost about 1.30, at 0.5 and 3 a million prompt and completion tokens"
    assert "price_per_million_prompt_tokens" in estimate.lines(LlmSettings())[1]
