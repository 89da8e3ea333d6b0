"""Settings of tunings: what is turned, how, and how far."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recsae_lib.config.section import Section

TUNING_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Mix = Annotated[dict[str, Annotated[float, Field(gt=0.0, le=1.0)]], Field(min_length=1)]
MOST_LATENTS = 64  # that one tuning names
MOST_SEEDS = 100  # items that one tuning names


class TuningSettings(Section):
    name: Annotated[str, Field(pattern=TUNING_NAME)] = Field(
        description="Name of the tuning, in the rows of tuned_recommendations and tuning_effects."
    )
    latents: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=MOST_LATENTS)] = Field(
        (), description="What to turn: these latents."
    )
    feature: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="What to turn: the latent of the highest output score for this item feature."
    )
    like: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=MOST_SEEDS)] = Field(
        (), description="What to turn: at most 8 latents that together point where these items (their ids) lie."
    )
    debias: Literal["popularity"] | None = Field(
        None, description="What to turn: the latents that lift popular items most."
    )
    mix: Literal["history"] | Mix | None = Field(
        None,
        description="What lists are to be made of: item features and their shares, e.g. {Drama: 0.6, Comedy: 0.3}; or "
        "history, the shares of each user's own. A list is steered to each feature, and they are joined in proportion; "
        "what is left of 1 stays as it was.",
    )
    direction: Literal["more", "less"] | None = Field(
        None, description="Whether lists get more of it or less; less of popularity and more of the rest, if unset."
    )
    mode: Literal["multiply", "add"] = Field(
        "add",
        description="add: every user is moved by the same step. multiply: activations are multiplied, of users for "
        "whom the latents fire.",
    )
    strength: float | None = Field(
        None, allow_inf_nan=False, description="m of multiply (0 removes, 1 changes nothing), or a of add."
    )
    overlap: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None,
        description="In place of strength: the share of the first 10 recommendations that stay, on average over dev "
        "users for whom anything is moved; 0.7 if neither is set.",
    )

    @model_validator(mode="after")
    def _one_thing_one_way(self) -> TuningSettings:
        given = (self.feature, self.debias, self.mix)
        if bool(self.latents) + bool(self.like) + sum(one is not None for one in given) != 1:
            raise ValueError(f"tuning {self.name}: set exactly one of latents, feature, like, debias and mix")
        if self.mix is not None and (self.mode == "multiply" or self.direction is not None):
            raise ValueError(f"tuning {self.name}: a mix is steered by mode add, and has no direction")
        if isinstance(self.mix, dict) and sum(self.mix.values()) > 1 + 1e-9:
            raise ValueError(f"tuning {self.name}: the shares of a mix are at most 1 together")
        if self.mix is not None and self.strength is not None and self.strength < 0:
            raise ValueError(f"tuning {self.name}: a mix is steered by a strength of 0 or more")
        if self.strength is not None and self.overlap is not None:
            raise ValueError(f"tuning {self.name}: set strength or overlap, not both")
        if self.strength is not None and self.direction is not None:
            raise ValueError(f"tuning {self.name}: a strength says the direction itself; leave direction out")
        if self.mode == "multiply" and self.strength is not None and self.strength < 0:
            raise ValueError(f"tuning {self.name}: a strength of multiply is 0 or more")
        return self

    @property
    def wanted_direction(self) -> Literal["more", "less"]:
        """Where lists are moved to: as `direction` or `strength` says."""
        if self.strength is not None:
            return "more" if self.strength > (1.0 if self.mode == "multiply" else 0.0) else "less"
        return self.direction or ("less" if self.debias else "more")
