"""What a run has paid for, and what it may still pay for."""

from __future__ import annotations

from dataclasses import dataclass

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.llm.answers import succeeded, usage_of
from recsae_lib.platform.llm.request_files import JsonObject, completion_limit, estimate_prompt_tokens


@dataclass(frozen=True)
class Spending:
    """What was paid for, or may have to be: answers, tokens, and money (0 where there are no prices)."""

    requests: int
    tokens: int
    cost: float


class Budget:
    """What a run may still pay for. What is under way counts with all that it may cost, so that no limit is passed.

    (Estimates of prompts err to the high side, see `estimate_prompt_tokens`; answers are bounded by the field of the
    request that `llm.tokens_field` names.)
    """

    def __init__(self, settings: LlmSettings, spent: Spending) -> None:
        self._settings = settings
        self._limits = (settings.budget_requests, settings.budget_tokens, settings.budget_cost)
        self._is_limited = self._limits != (None, None, None)
        self._used: list[float] = [spent.requests, spent.tokens, spent.cost]

    def reserve(self, body: JsonObject) -> bool:
        """Set aside what a request may cost; False, and nothing is set aside, where that would pass a limit."""
        if not self._is_limited:
            return True
        wanted = self._worst(body)
        sums = [used + want for used, want in zip(self._used, wanted, strict=True)]
        if any(limit is not None and total > limit for limit, total in zip(self._limits, sums, strict=True)):
            return False
        self._used = sums
        return True

    def settle(self, body: JsonObject, answer: JsonObject | None) -> None:
        """Replace what was set aside for a request by what its answer did cost (nothing where it failed)."""
        if not self._is_limited:
            return
        self._used = [used - want for used, want in zip(self._used, self._worst(body), strict=True)]
        if answer is None or not succeeded(answer):
            return
        prompt, completion = usage_of(answer)
        if prompt is None or completion is None:
            spent = self._worst(body)
        else:
            prices = self._settings.prices or (0.0, 0.0)
            spent = (1.0, float(prompt + completion), prompt * prices[0] + completion * prices[1])
        self._used = [used + part for used, part in zip(self._used, spent, strict=True)]

    def used_up(self, done: int, total: int) -> InputError:
        """The end of a job whose budget does not reach for all requests."""
        names = ("budget_requests", "budget_tokens", "budget_cost")
        set_limits = [f"{n} = {limit:g}" for n, limit in zip(names, self._limits, strict=True) if limit is not None]
        return InputError(
            f"The budget (llm: {', '.join(set_limits)}) is used up: {done:,} of {total:,} requests "
            "are done or under way",
            "Raise it and run again: answers that have landed are kept",
        )

    def _worst(self, body: JsonObject) -> tuple[float, float, float]:
        prompt = estimate_prompt_tokens(body)
        completion = completion_limit(body) or self._settings.max_answer_tokens
        prices = self._settings.prices or (0.0, 0.0)
        return 1.0, float(prompt + completion), prompt * prices[0] + completion * prices[1]
