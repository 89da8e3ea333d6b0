"""Settings of the server of a language model, which names concepts and judges cases."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recsae_lib.config.section import PositiveInt, Section


class LlmSettings(Section):
    base_url: str | None = Field(None, description="Address of an OpenAI-compatible server; OpenAI's where unset.")
    model: str = Field("gpt-4o-mini", description="Model name sent to the server.")
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key.")
    transport: Literal["inline", "batch"] = Field(
        "inline",
        description="How requests reach the server: each by itself, many at once (any OpenAI-compatible server), or as "
        "files by the Batch API.",
    )
    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Requests under way at once (inline).")
    timeout_seconds: Annotated[float, Field(gt=0.0)] = Field(60.0, description="Time one request may take.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(4, description="Further tries after a passing failure.")
    max_answer_tokens: PositiveInt = Field(400, description="Tokens an answer may have.")
    answer_format: Literal["json_schema", "json_object"] = Field(
        "json_schema",
        description="How the server is told the schema of an answer: as OpenAI wants it, or beside the wish for "
        "a JSON object, as the server of llama-cpp-python wants it.",
    )
    price_per_million_prompt_tokens: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Price of a million prompt tokens by the transport in use; costs are not known where unset."
    )
    price_per_million_completion_tokens: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Price of a million tokens of answers by the transport in use."
    )
    budget_requests: PositiveInt | None = Field(
        None, description="Answers that one job of one date may pay for; the job stops before it pays for more."
    )
    budget_tokens: PositiveInt | None = Field(
        None, description="Tokens, of prompts and answers together, that one job of one date may pay for."
    )
    budget_cost: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Money that one job of one date may spend, in the currency of the prices (both must be set)."
    )
    batch_enqueued_tokens: PositiveInt = Field(
        2_000_000, description="Prompt tokens that may wait at the server at once (batch); a limit of your account."
    )
    batch_poll_seconds: Annotated[float, Field(gt=0.0)] = Field(
        60.0, description="Pause between two looks at batches under way, where a job waits for them."
    )

    @property
    def prices(self) -> tuple[float, float] | None:
        """Price of one prompt token and of one token of an answer; None where either is not set."""
        prompt, completion = self.price_per_million_prompt_tokens, self.price_per_million_completion_tokens
        return None if prompt is None or completion is None else (prompt / 1e6, completion / 1e6)

    @model_validator(mode="after")
    def _budget_has_prices(self) -> LlmSettings:
        if self.budget_cost is not None and self.prices is None:
            raise ValueError("llm.budget_cost needs llm.price_per_million_prompt_tokens and _completion_tokens")
        return self
