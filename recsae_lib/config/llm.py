"""Settings of the server of a language model, which names concepts and judges cases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from recsae_lib.config.section import PositiveInt, Section
from recsae_lib.redaction import remember


class LlmSettings(Section):
    base_url: str | None = Field(
        None,
        description="Address of an OpenAI-compatible server; OpenAI's where unset. With ?api-version=… it is Azure's.",
    )
    model: str = Field("gpt-4o-mini", description="Model name sent to the server.")
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key.")
    headers: dict[str, str] = Field(
        {},
        description="Further headers of every call, for a gateway; ${NAME} stands for an environment variable, where "
        "keys belong. Their values are never shown.",
    )
    transport: Literal["inline", "batch"] = Field(
        "inline",
        description="How requests reach the server: each by itself, many at once (any OpenAI-compatible server), or as "
        "files by the Batch API.",
    )
    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Requests under way at once (inline).")
    timeout_seconds: Annotated[float, Field(gt=0.0)] = Field(
        60.0,
        description="Time one request may take, to the last byte of its answer (inline); of batch, whose files take as "
        "long as they are large, the longest silence.",
    )
    retries: Annotated[int, Field(ge=0, le=20)] = Field(4, description="Further tries after a passing failure.")
    max_answer_tokens: PositiveInt = Field(400, description="Tokens an answer may have.")
    tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        "max_tokens",
        description="Field of a request that bounds its answer; models that think want max_completion_tokens, in which "
        "thoughts count. Null leaves it out.",
    )
    answer_format: Literal["json_schema", "json_object"] | None = Field(
        "json_schema",
        description="How the server is told the schema of an answer: as OpenAI wants it, or beside the wish for "
        "a JSON object, as the server of llama-cpp-python wants it. Null leaves it to the prompt.",
    )
    extra_body: dict[str, Any] = Field(
        {},
        description="Further fields of every request, as the server knows them: {reasoning_effort: low}, {top_k: 20}.",
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
    def _body_has_one_writer(self) -> LlmSettings:
        if ours := sorted(self.extra_body.keys() & {"model", "messages", "stream", "n"}):
            raise ValueError(f"llm.extra_body must leave {' and '.join(ours)} to the suite")
        return self

    @model_validator(mode="after")
    def _headers_are_no_secret_to_tell(self) -> LlmSettings:
        remember(self.headers.values())
        return self

    @model_validator(mode="after")
    def _budget_is_bounded(self) -> LlmSettings:
        if self.tokens_field is None and (self.budget_tokens is not None or self.budget_cost is not None):
            raise ValueError("llm.budget_tokens and budget_cost need llm.tokens_field: nothing else bounds an answer")
        return self

    @model_validator(mode="after")
    def _budget_has_prices(self) -> LlmSettings:
        if self.budget_cost is not None and self.prices is None:
            raise ValueError("llm.budget_cost needs llm.price_per_million_prompt_tokens and _completion_tokens")
        return self
