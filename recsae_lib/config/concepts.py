"""Settings of what is made of latents: evidence, terms, names, confidence, coverage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from recsae_lib.config.section import Judge, PositiveInt, Section, Share


class RecommendationSettings(Section):
    top_n: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Recommended items a user (P_u).")
    context_items: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="Latest items of the history that count as context (H_u)."
    )
    block_users: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="Users scored in one block.")


class EvidenceSettings(Section):
    linked_items: Literal["recommended", "context"] = Field(
        "recommended", description="What links an item to a user: recommended to them (P_u) or in their context (H_u)."
    )
    salt: str = Field("recsae", description="Salt of the hash that splits users into construct and verify halves.")
    items_per_latent: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Items of the largest evidence that a latent keeps."
    )


class TermSettings(Section):
    weighting: Literal["class", "catalogue"] = Field(
        "class", description="Which idf: class-based (a latent is the document) or over the catalogue of items."
    )
    terms_per_latent: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="Terms kept a latent, best first.")
    longest_ngram: Annotated[int, Field(ge=1, le=3)] = Field(2, description="Longest run of words that is a term.")
    stop_words: Literal["english", "none"] = Field("english", description="List of words that are no terms.")
    minimum_items: Annotated[int, Field(ge=1)] = Field(
        2, description="Distinct linked items of the latent that a significant term must occur in."
    )
    prior_strength: Annotated[float, Field(gt=0.0)] = Field(
        100.0, description="α₀: pseudo-count of the informative Dirichlet prior behind z_score."
    )
    significance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="q-value under which a term is significant."
    )


class OpenaiSettings(Section):
    base_url: str | None = Field(None, description="Address of an OpenAI-compatible server; OpenAI's where unset.")
    model: str = Field("gpt-4o-mini", description="Model name sent to the server.")
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key.")
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = Field(0.6, description="Sampling temperature.")
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
    def _budget_has_prices(self) -> OpenaiSettings:
        if self.budget_cost is not None and self.prices is None:
            raise ValueError("openai.budget_cost needs openai.price_per_million_prompt_tokens and _completion_tokens")
        return self


class InterpretationSettings(Section):
    interpreter: Literal["terms", "openai"] = Field(
        "terms", description="Who names a latent: its own significant terms, or a language model."
    )
    transport: Literal["inline", "batch"] = Field(
        "inline",
        description="How requests reach the server: each by itself, many at once (any OpenAI-compatible server), or as "
        "files by the Batch API.",
    )
    prompt: str = Field("conf/prompts/interpret.md", description="Prompt file of the language model.")
    label_terms: Annotated[int, Field(ge=1, le=10)] = Field(3, description="Terms that make a label of `terms`.")
    top_terms: Annotated[int, Field(ge=1, le=100)] = Field(15, description="Terms shown in a request.")
    top_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Items shown in a request.")
    near_miss_items: Annotated[int, Field(ge=0, le=100)] = Field(5, description="Near-miss items shown in a request.")
    openai: OpenaiSettings = Field(default_factory=OpenaiSettings, description="The server of interpreter openai.")


class VerificationSettings(Section):
    cases_per_kind: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="n: positive cases a latent, and as many negative ones."
    )
    interval_width: Annotated[float, Field(ge=0.05, lt=1.0)] | None = Field(
        None,
        description="Full width that the 95 % interval of a confidence shall have at most (0.2: ± 0.1); cases_per_kind "
        "then follows from it, as far as there are users (0.2 takes 47 of each kind).",
    )
    minimum_level: Annotated[int, Field(ge=1, le=10)] = Field(
        5, description="Activation level (decile, 1 to 10) from which a user is a positive case."
    )
    confidence: Share = Field(0.8, description="Confidence from which a latent may be interpretable.")
    significance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(0.05, description="q-value that it must undercut.")
    neighbours: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="Nearest other latents whose users are the hard negatives."
    )
    judges: tuple[Judge, ...] = Field(
        ("terms",),
        description="Who judges the cases: terms (the term scorer, always there), and llm beside it, a language model "
        "on the server of interpretation.openai, whose scores the concepts then carry.",
    )
    judge_prompt: str = Field("conf/prompts/judge.md", description="Prompt file of judge llm.")
    judge_temperature: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        0.0, description="Sampling temperature of judge llm."
    )
    judge_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Linked items of a case shown to llm.")
    cases_per_request: Annotated[int, Field(ge=1, le=500)] | None = Field(
        None, description="Cases of a latent that one request to llm holds at most; all of a latent where unset."
    )
    association_users: PositiveInt = Field(
        20_000, description="Verify-half users, drawn by hash, behind the ROC-AUC of each latent."
    )

    @field_validator("judges")
    @classmethod
    def _terms_judge(cls, judges: tuple[Judge, ...]) -> tuple[Judge, ...]:
        if judges.count("terms") != 1 or len(set(judges)) < len(judges):
            raise ValueError(f"verification.judges is [terms] or [terms, llm], got {list(judges)}")
        return judges


class CoverageSettings(Section):
    minimum_document_frequency: PositiveInt = Field(5, description="Items that an item feature needs before it counts.")
    confidences: tuple[Share, ...] = Field((0.6, 0.7, 0.8, 0.9, 1.0), description="Confidences that are reported.")
    coherence_cases: Annotated[int, Field(ge=2, le=100)] = Field(10, description="Top cases behind coherence.")
