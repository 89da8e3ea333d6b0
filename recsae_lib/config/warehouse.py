"""Settings of what guards the tables, and of what is kept in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from recsae_lib.config.section import Section, Share


class CheckSettings(Section):
    maximum_fvu: Annotated[float, Field(gt=0.0)] = Field(0.5, description="FVU above which an audit fails.")
    maximum_dead_fraction: Share = Field(0.1, description="Dead latents' share above which an audit warns.")
    minimum_ndcg_kept: Share = Field(0.9, description="NDCG kept by reconstruction under which an audit warns.")
    maximum_reject_share: Share = Field(0.05, description="Rejected rows' share above which an audit fails.")
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
        if self.fail_stable_share > self.warn_stable_share:
            raise ValueError(
                f"checks.fail_stable_share ({self.fail_stable_share:g}) must not exceed checks.warn_stable_share "
                f"({self.warn_stable_share:g})"
            )
        if self.warn_refused_share > self.fail_refused_share:
            raise ValueError(
                f"checks.warn_refused_share ({self.warn_refused_share:g}) must not exceed checks.fail_refused_share "
                f"({self.fail_refused_share:g})"
            )
        return self


class MaintenanceSettings(Section):
    keep_nights: Annotated[int, Field(ge=1)] = Field(
        400, description="Nights whose audits stay in the tables, counted back from the date of maintain_tables."
    )
    keep_snapshot_days: Annotated[int, Field(ge=0)] = Field(
        7, description="Days for which snapshots stay readable that no branch and no tag holds."
    )
    keep_bulk_nights: Annotated[int, Field(ge=1)] = Field(
        14, description="Nights whose representations stay in paths.bulk; older ones can be extracted again."
    )
