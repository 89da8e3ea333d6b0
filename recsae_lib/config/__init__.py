"""Typed settings: conf/base.yaml ← --conf file ← --set a.b=c, every key known, every value bounded.

A module holds the settings of the folder of its name; each class is one section of the YAML file. The description of a
field is what ``recsae config`` prints above its value.
"""

from recsae_lib.config.concepts import CoverageSettings, EvidenceSettings, TermSettings
from recsae_lib.config.datasets import ColumnMapping, DatasetSettings, DerivedFeatureSettings, FilterSettings, Repeats
from recsae_lib.config.drift import DriftSettings
from recsae_lib.config.explorer import ExplorerSettings
from recsae_lib.config.interpretation import InterpretationSettings
from recsae_lib.config.llm import LlmSettings
from recsae_lib.config.loading import as_commented_yaml, explain_faults, load_settings, merge, read_yaml
from recsae_lib.config.recommenders import (
    BprMfSettings,
    ExternalSettings,
    LightgcnSettings,
    ModuleSettings,
    RecommenderSettings,
    SasrecSettings,
    SplitSettings,
    TimirecSettings,
)
from recsae_lib.config.representations import RepresentationSettings
from recsae_lib.config.sae import SaeSettings
from recsae_lib.config.section import DEFAULT_SITE, Device, Scope, Section
from recsae_lib.config.settings import Settings
from recsae_lib.config.storage import PathSettings
from recsae_lib.config.tuning import TuningSettings
from recsae_lib.config.verification import Judge, VerificationSettings
from recsae_lib.config.warehouse import CheckSettings

__all__ = [
    "DEFAULT_SITE",
    "BprMfSettings",
    "CheckSettings",
    "ColumnMapping",
    "CoverageSettings",
    "DatasetSettings",
    "DerivedFeatureSettings",
    "Device",
    "DriftSettings",
    "EvidenceSettings",
    "ExplorerSettings",
    "ExternalSettings",
    "FilterSettings",
    "InterpretationSettings",
    "Judge",
    "LightgcnSettings",
    "LlmSettings",
    "ModuleSettings",
    "PathSettings",
    "RecommenderSettings",
    "Repeats",
    "RepresentationSettings",
    "SaeSettings",
    "SasrecSettings",
    "Scope",
    "Section",
    "Settings",
    "SplitSettings",
    "TermSettings",
    "TimirecSettings",
    "TuningSettings",
    "VerificationSettings",
    "as_commented_yaml",
    "explain_faults",
    "load_settings",
    "merge",
    "read_yaml",
]
