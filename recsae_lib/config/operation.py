"""Settings of where a run works, and of what guards and keeps the tables."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from recsae_lib.config.section import PositiveInt, Section, Share


class PathSettings(Section):
    var: str = Field("var", description="Folder under which every local file of a run is written.")
    bulk: str = Field("var/bulk", description="Folder of the bulk Parquet files that Petastorm reads.")
    tracking_uri: str = Field(
        "sqlite:///var/mlflow/mlflow.db", description="MLflow tracking and registry address (any that MLflow takes)."
    )
    artifacts: str = Field("var/mlflow/artifacts", description="Where MLflow keeps the artifacts of new experiments.")
    locks: str | None = Field(
        None,
        pattern="^(s3://[^/]+/.|/|[^:]*$)",
        description="Where runs of the same namespace and date keep each other out: a folder, or s3://bucket/folder, "
        "of a storage that knows conditional writes, for machines that share no disk. Empty: <var>/locks.",
    )
    llm: str | None = Field(
        None,
        pattern="^s3://[^/]+/.",
        description="Where the ledger of requests to language models, and their files, are between the steps of jobs "
        "whose machines share no disk: s3://bucket/folder. Empty: in <var> only.",
    )
    reports: str | None = Field(
        None,
        pattern="^s3://[^/]+/.",
        description="Where copies of the reports in <var>/reports go (checks, comparisons, pages and sheets for "
        "raters): s3://bucket/folder. Empty: nowhere.",
    )

    @property
    def locks_folder(self) -> str:
        """Where the locks are: `locks`, or the folder of that name in `var`."""
        return self.locks or f"{self.var}/locks"


class SparkSettings(Section):
    properties: str = Field(
        "conf/spark/local.conf",
        description="Spark properties file (master, memory, catalogs) of `recsae run`; spark-submit brings its own.",
    )


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


class CheckSettings(Section):
    maximum_fvu: Annotated[float, Field(gt=0.0)] = Field(0.5, description="FVU above which an audit fails.")
    maximum_dead_fraction: Share = Field(0.1, description="Dead latents' share above which an audit warns.")
    minimum_ndcg_kept: Share = Field(0.9, description="NDCG kept by reconstruction under which an audit warns.")
    maximum_reject_share: Share = Field(0.05, description="Rejected rows' share above which an audit fails.")
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
