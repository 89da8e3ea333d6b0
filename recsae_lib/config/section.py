"""What every section of the settings is made of."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Device = Literal["auto", "cpu", "cuda"]
Scope = Literal["data", "model", "audit"]  # of a table: all models on the same data, all sites of a model, one audit
DEFAULT_SITE = "last"  # the vector just before the item scores: every model has it
PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A group of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, given: object) -> object:
        return {} if given is None else given  # a section of a file whose settings are all comments


def slug(site: str) -> str:
    """A probing site as a part of a namespace: blocks.0 is blocks_0."""
    return re.sub(r"[^a-z0-9]+", "_", site.lower()).strip("_")
