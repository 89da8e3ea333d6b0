"""All settings of a run."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field, field_validator

from recsae_lib.config.concepts import CoverageSettings, EvidenceSettings, TermSettings
from recsae_lib.config.datasets import DatasetSettings
from recsae_lib.config.drift import DriftSettings
from recsae_lib.config.explorer import ExplorerSettings
from recsae_lib.config.interpretation import InterpretationSettings
from recsae_lib.config.llm import LlmSettings
from recsae_lib.config.recommenders import RecommendationSettings, RecommenderSettings
from recsae_lib.config.representations import RepresentationSettings
from recsae_lib.config.sae import SaeSettings
from recsae_lib.config.section import DEFAULT_SITE, Device, Scope, Section, slug
from recsae_lib.config.spark import SparkSettings
from recsae_lib.config.storage import PathSettings
from recsae_lib.config.tuning import TuningSettings
from recsae_lib.config.verification import VerificationSettings
from recsae_lib.config.warehouse import CheckSettings, MaintenanceSettings


class Settings(Section):
    namespace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "ml_100k", description="Application; the warehouse namespace and the suffix of the model names."
    )
    catalog: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "recsae", description="Iceberg catalog, declared in the Spark properties."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(2026, description="Seed of everything random.")
    device: Device = Field("auto", description="Where torch runs while training: auto takes CUDA when there is one.")
    paths: PathSettings = Field(default_factory=PathSettings, description="Where a run writes.")
    spark: SparkSettings = Field(default_factory=SparkSettings, description="Spark when not under spark-submit.")
    dataset: DatasetSettings = Field(default_factory=DatasetSettings, description="Raw data.")
    recommender: RecommenderSettings = Field(default_factory=RecommenderSettings, description="The model to audit.")
    representations: RepresentationSettings = Field(
        default_factory=RepresentationSettings, description="Extraction of representations."
    )
    recommendations: RecommendationSettings = Field(
        default_factory=RecommendationSettings, description="Items linked to users."
    )
    sae: SaeSettings = Field(default_factory=SaeSettings, description="The sparse autoencoder.")
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings, description="Linking latents to items.")
    terms: TermSettings = Field(default_factory=TermSettings, description="Concept terms.")
    llm: LlmSettings = Field(
        default_factory=LlmSettings, description="Server of the language model of interpreter llm and judge llm."
    )
    interpretation: InterpretationSettings = Field(
        default_factory=InterpretationSettings, description="Names of concepts."
    )
    verification: VerificationSettings = Field(
        default_factory=VerificationSettings, description="The confidence score."
    )
    coverage: CoverageSettings = Field(default_factory=CoverageSettings, description="Metrics over all latents.")
    drift: DriftSettings = Field(default_factory=DriftSettings, description="Comparison with an earlier audit.")
    tunings: tuple[TuningSettings, ...] = Field(
        (),
        description="Concepts to turn, and what is recommended then, e.g. [{name: less_horror, feature: Horror, "
        "direction: less}]. Each names one of latents, feature, like and debias.",
    )
    explorer: ExplorerSettings = Field(default_factory=ExplorerSettings, description="The page of the audit.")
    checks: CheckSettings = Field(default_factory=CheckSettings, description="Limits that guard publication.")
    maintenance: MaintenanceSettings = Field(
        default_factory=MaintenanceSettings, description="What maintain_tables keeps."
    )

    @field_validator("tunings")
    @classmethod
    def _names_differ(cls, tunings: tuple[TuningSettings, ...]) -> tuple[TuningSettings, ...]:
        names = [tuning.name for tuning in tunings]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tunings: several have the name {', '.join(repeated)}")
        return tunings

    def namespaces(self, site: str) -> dict[Scope, str]:
        """Return the namespace of the tables of each scope, e.g. ml_1m, ml_1m__ranking, ml_1m__ranking__blocks_0.

        Parameters
        ----------
        site : probing site; the default one, ``last``, has the namespace of its model.
        """
        model = f"{self.namespace}__{self.recommender.name}" if self.recommender.name else self.namespace
        audit = model if site == DEFAULT_SITE else f"{model}__{slug(site)}"
        return {"data": self.namespace, "model": model, "audit": audit}

    def digest(self) -> str:
        """SHA-256 (first 16 hex digits) of the resolved settings, the same for the same values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
