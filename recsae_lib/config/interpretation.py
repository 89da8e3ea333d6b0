"""Settings of how concepts get their names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsae_lib.config.llm import OpenaiSettings
from recsae_lib.config.section import Section


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
