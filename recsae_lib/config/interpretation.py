"""Settings of how concepts get their names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from recsae_lib.config.section import Section
from recsae_lib.config.shipped import own_or_shipped


class InterpretationSettings(Section):
    interpreter: Literal["terms", "llm"] = Field(
        "terms", description="Who names a latent: its own significant terms, or the language model of section llm."
    )
    prompt: str | None = Field(
        None,
        description="Prompt file of interpreter llm. Empty: conf/prompts/interpret.md, which the suite comes with.",
    )
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = Field(
        0.6, description="Sampling temperature of interpreter llm; null leaves it out, for models that refuse it."
    )
    label_terms: Annotated[int, Field(ge=1, le=10)] = Field(
        3, description="Terms that make a label of interpreter terms."
    )
    top_terms: Annotated[int, Field(ge=1, le=100)] = Field(15, description="Terms shown in a request.")
    top_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Items shown in a request.")
    near_miss_items: Annotated[int, Field(ge=0, le=100)] = Field(5, description="Near-miss items shown in a request.")

    @property
    def prompt_file(self) -> Path:
        """Path of the prompt file."""
        return own_or_shipped(self.prompt, "prompts/interpret.md")
