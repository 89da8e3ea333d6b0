"""Settings of the comparison with an earlier audit."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator

from recsae_lib.config.section import PositiveInt, Section, Share


class DriftSettings(Section):
    against: Literal["previous"] | date | PositiveInt = Field(
        "previous",
        description="What an audit is compared with: previous, the last audit published for an earlier date; the audit "
        "published for a date; or the last one published with an SAE version (a number).",
    )
    minimum_similarity: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.7,
        description="Similarity from which two latents may be the same: cosine of their decoder rows, or correlation "
        "of their activations where the two SAEs read different recommender versions.",
    )
    minimum_term_similarity: Share = Field(
        0.5,
        description="Cosine between the tfidf of the terms of two matched latents from which the concept is stable; "
        "below it has drifted.",
    )
    top_terms: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Significant terms of each side among which a term counts as gained or lost."
    )
    users: Annotated[int, Field(ge=100)] = Field(
        1_000_000, description="About so many users, drawn by hash, behind correlations of activations."
    )

    @field_validator("against", mode="before")
    @classmethod
    def _no_date_from_a_number(cls, against: object) -> object:
        if isinstance(against, int | float) and not (isinstance(against, int) and against >= 1):
            raise ValueError("drift.against is previous, a date or an SAE version from 1")  # not days since 1970
        return against
