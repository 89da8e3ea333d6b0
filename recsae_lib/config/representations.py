"""Settings of the representations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from recsae_lib.config.section import DEFAULT_SITE, PositiveInt, Section, slug


class RepresentationSettings(Section):
    sites: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")], ...], Field(min_length=1)
    ] = Field(
        (DEFAULT_SITE,),
        description="Probing sites, each audited by itself: last, the vector just before the item scores, or names "
        "of submodules of the model, e.g. blocks.0 (`recsae sites` lists them).",
    )
    training_positions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="Sampled positions a user in the training rows of a sequential recommender."
    )
    row_group_mib: Annotated[float, Field(gt=0.0, le=512.0)] = Field(
        16.0, description="Size that a Parquet row group should have."
    )
    minimum_row_groups: PositiveInt = Field(
        4, description="Row groups that the training rows have at least (one a training process or more)."
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(1024, description="Users a forward pass.")
    fidelity_users: PositiveInt = Field(
        10_000, description="Users, drawn by hash, whose held-out item measures what reconstruction keeps."
    )

    @model_validator(mode="after")
    def _sites_apart(self) -> RepresentationSettings:
        slugs = [slug(site) for site in self.sites]
        if len(set(slugs)) < len(slugs) or not all(slugs):
            raise ValueError(f"representations.sites must differ in letters and digits, got {', '.join(self.sites)}")
        return self
