"""Settings of what guards the tables, and of what is kept in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from recsae_lib.config.section import Section, Share


class CheckSettings(Section):
    maximum_fvu: Annotated[float, Field(gt=0.0)] = Field(
        0.5, description="FVU of the training rows within reach (fvu_within_reach) above which an audit fails."
    )
    maximum_fvu_by_user: Annotated[float, Field(gt=0.0)] = Field(
        0.9, description="Median over users of the FVU of each above which an audit fails; never below maximum_fvu."
    )
    maximum_fvu_by_dimension: Annotated[float, Field(gt=0.0)] = Field(
        0.9, description="Mean over dimensions of the FVU of each above which an audit fails; never below maximum_fvu."
    )
    maximum_dead_fraction: Share = Field(0.1, description="Dead latents' share above which an audit warns.")
    minimum_ndcg_kept: Share = Field(0.9, description="NDCG kept by reconstruction under which an audit warns.")
    maximum_reject_share: Share = Field(0.05, description="Rejected rows' share above which an audit fails.")
    maximum_left_out_share: Share = Field(
        0.1,
        description="Share of the interactions with items or users that the recommender does not know, above which an "
        "audit warns and asks to train the recommender again.",
    )
    fail_described_share: Share = Field(
        0.5,
        description="Share of interactions whose item has text or features under which ingestion fails: the catalogue "
        "does not join; 0 never does while any item of an interaction has some.",
    )
    warn_described_share: Share = Field(0.9, description="The same share under which ingestion and an audit warn.")
    maximum_tied_share: Share = Field(
        0.5, description="Share of users whose test item hangs on a tie of time above which an audit warns."
    )
    minimum_shared_terms: Share = Field(
        0.05, description="Share of the terms of latents that stand in two items or more under which an audit warns."
    )
    fail_refused_share: Share = Field(
        0.5, description="Share of a language model's answers that cannot be used, above which an audit fails."
    )
    warn_refused_share: Share = Field(0.05, description="The same share, above which an audit warns.")
    fail_stable_share: Share = Field(
        0.0, description="Share of stable latents (concept_drift) under which an audit fails; 0 never does."
    )
    warn_stable_share: Share = Field(0.5, description="Share of stable latents under which an audit warns.")
    retrain_stable_share: Share = Field(
        0.5,
        description="Share of stable latents under which an audit asks for retraining, where its SAE is the one of the "
        "audit it is compared with: a new SAE has its own latents, and retraining again would not bring the old back.",
    )

    @model_validator(mode="after")
    def _warns_first(self) -> CheckSettings:
        for first, second in (
            ("fail_described_share", "warn_described_share"),
            ("fail_stable_share", "warn_stable_share"),
            ("warn_refused_share", "fail_refused_share"),
        ):
            low, high = getattr(self, first), getattr(self, second)
            if low > high:
                raise ValueError(f"checks.{first} ({low:g}) must not exceed checks.{second} ({high:g})")
        return self


class MaintenanceSettings(Section):
    keep_nights: Annotated[int, Field(ge=1)] = Field(
        400,
        description="Nights whose audits stay in the tables, counted back from the date of maintain_tables, or from "
        "the newest published audit where that is earlier.",
    )
    keep_raw_nights: Annotated[int, Field(ge=1)] = Field(
        30,
        description="Nights for which interactions and items stay as they were then, counted in the same way. A month, "
        "as they can be ingested again; what was found in them stays for keep_nights.",
    )
    keep_snapshot_days: Annotated[int, Field(ge=1)] = Field(
        7,
        description="Days for which snapshots stay readable that no branch and no tag holds, and branches of audits "
        "that have ended; at least one: what a job reads must not go meanwhile.",
    )
    keep_bulk_nights: Annotated[int, Field(ge=1)] = Field(
        14, description="Nights whose representations stay in paths.bulk; older ones can be extracted again."
    )
