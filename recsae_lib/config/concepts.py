"""Settings of what is made of latents: evidence, terms, coverage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsae_lib.config.section import PositiveInt, Section, Share


class EvidenceSettings(Section):
    linked_items: Literal["recommended", "context"] = Field(
        "recommended", description="What links an item to a user: recommended to them (P_u) or in their context (H_u)."
    )
    salt: str = Field("recsae", description="Salt of the hash that splits users into construct and verify halves.")
    items_per_latent: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Items of the largest evidence that a latent keeps."
    )
    same_closeness: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.8, description="Cosine of evidence from which two latents are about the same thing."
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


class CoverageSettings(Section):
    minimum_document_frequency: PositiveInt = Field(5, description="Items that an item feature needs before it counts.")
    confidences: tuple[Share, ...] = Field((0.6, 0.7, 0.8, 0.9, 1.0), description="Confidences that are reported.")
    coherence_cases: Annotated[int, Field(ge=2, le=100)] = Field(10, description="Top cases behind coherence.")
    baseline_users: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        100_000,
        description="Users, drawn by hash, behind the evidence of the dictionaries that the SAE is compared with; "
        "everybody where there are fewer.",
    )
    baseline_units: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        256,
        description="Units of each of these dictionaries, drawn by hash, that are judged; all where there are fewer. "
        "Counts of units are then projected onto all of them; what their names reach is left out.",
    )
