"""What would be asked of a language model and what that would cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.request_files import JsonObject

CHARACTERS_A_TOKEN = 4  # of English under the tokenisers in use; other scripts take more tokens


@dataclass(frozen=True)
class RequestEstimate:
    """How much would be asked.

    Parameters
    ----------
    requests : number of them.
    prompt_characters, completion_characters : of all messages that would be sent, and of all answers.
    """

    requests: int
    prompt_characters: float
    completion_characters: float

    def lines(self, server: LlmSettings) -> list[str]:
        """Say it for people: requests, tokens, cost at the settings' prices."""
        prompt, completion = (
            characters / CHARACTERS_A_TOKEN for characters in (self.prompt_characters, self.completion_characters)
        )
        asked = (
            f"{self.requests:,} requests to {server.model}, about {prompt:,.0f} prompt tokens and {completion:,.0f} "
            f"completion tokens (estimated as characters / {CHARACTERS_A_TOKEN})"
        )
        of_prompts, of_completions = server.price_per_million_prompt_tokens, server.price_per_million_completion_tokens
        if of_prompts is None or of_completions is None:
            return [asked, "no cost: set llm.price_per_million_prompt_tokens and price_per_million_completion_tokens"]
        cost = (prompt * of_prompts + completion * of_completions) / 1e6
        return [
            asked,
            f"cost about {cost:,.2f}, at {of_prompts:g} and {of_completions:g} a million prompt and completion tokens",
        ]


def estimate_requests(requests: Iterable[JsonObject], answer_characters: int) -> RequestEstimate:
    """Count requests that are built but not sent, one after the other.

    Parameters
    ----------
    answer_characters : length of a usual answer.
    """
    number = characters = 0
    for request in requests:
        number += 1
        characters += sum(len(message["content"]) for message in request["body"]["messages"])
    return RequestEstimate(number, characters, number * answer_characters)
