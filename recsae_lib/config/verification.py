"""Settings of the judgement of concepts on held-out users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from recsae_lib.config.section import Section, Share
from recsae_lib.config.shipped import own_or_shipped

Judge = Literal["terms", "llm"]


class VerificationSettings(Section):
    cases_per_kind: Annotated[int, Field(ge=1, le=1000)] = Field(
        10,
        description="n: positive cases a latent, and as many negative ones, that are drawn for judge llm and for "
        "people to look at; the term scorer judges all of judged_users.",
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
        description="Who judges the cases: terms (the term scorer, always there), and llm beside it, the language "
        "model of section llm, whose scores the concepts then carry.",
    )
    judge_prompt: str | None = Field(
        None, description="Prompt file of judge llm. Empty: conf/prompts/judge.md, which the suite comes with."
    )
    judge_temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = Field(
        0.0, description="Sampling temperature of judge llm; null leaves it out, for models that refuse it."
    )
    judge_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Linked items of a case shown to llm.")
    cases_per_request: Annotated[int, Field(ge=1, le=500)] | None = Field(
        None,
        description="Cases of a latent that one request to llm holds at most; all of a latent where unset. With 1 no "
        "text of an item can steer the verdict on another case, at the cost of a request a case. Requests of several "
        "cases hold two more whose verdicts are known; an answer that is wrong of these is refused.",
    )
    judged_users: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        20_000,
        description="Users of each half, drawn by hash, by whom the term scorer judges all latents, and behind removal "
        "effect, found_again and best_feature; everybody where there are fewer.",
    )
    removal_users: Annotated[int, Field(ge=10, le=1000)] = Field(
        100, description="Of these, users for whom a latent fires whose lists are made again without it."
    )
    minimum_removal: Share = Field(
        0.2, description="Share of its name in the lists that a confirmed latent takes with it when it is removed."
    )
    minimum_found_again: Share = Field(
        0.7, description="Correlation with a latent of another seed's SAE from which a latent is found again."
    )

    @field_validator("judges")
    @classmethod
    def _terms_judge(cls, judges: tuple[Judge, ...]) -> tuple[Judge, ...]:
        if judges.count("terms") != 1 or len(set(judges)) < len(judges):
            raise ValueError(f"verification.judges is [terms] or [terms, llm], got {list(judges)}")
        return judges

    @property
    def judge_prompt_file(self) -> Path:
        """Path of the prompt file."""
        return own_or_shipped(self.judge_prompt, "prompts/judge.md")
