"""Typed settings: conf/base.yaml ← --conf file ← --set a.b=c, every key known, every value bounded.

Each class is one section of the YAML file. The description of a field is what ``recsae config --help-settings`` prints.
"""

from recsae_lib.config.autoencoder import RepresentationSettings, SaeSettings
from recsae_lib.config.concepts import (
    CoverageSettings,
    EvidenceSettings,
    InterpretationSettings,
    OpenaiSettings,
    TermSettings,
    VerificationSettings,
)
from recsae_lib.config.dataset import ColumnMapping, DatasetSettings, FilterSettings
from recsae_lib.config.loading import as_commented_yaml, explain_faults, load_settings, merge, read_yaml
from recsae_lib.config.operation import CheckSettings, DriftSettings, PathSettings
from recsae_lib.config.recommender import (
    BprMfSettings,
    ExternalSettings,
    LightgcnSettings,
    ModuleSettings,
    RecommenderSettings,
    SasrecSettings,
    SplitSettings,
    TimirecSettings,
)
from recsae_lib.config.section import DEFAULT_SITE, Device, Judge, Scope, Section
from recsae_lib.config.settings import Settings

__all__ = [
    "DEFAULT_SITE",
    "BprMfSettings",
    "CheckSettings",
    "ColumnMapping",
    "CoverageSettings",
    "DatasetSettings",
    "Device",
    "DriftSettings",
    "EvidenceSettings",
    "ExternalSettings",
    "FilterSettings",
    "InterpretationSettings",
    "Judge",
    "LightgcnSettings",
    "ModuleSettings",
    "OpenaiSettings",
    "PathSettings",
    "RecommenderSettings",
    "RepresentationSettings",
    "SaeSettings",
    "SasrecSettings",
    "Scope",
    "Section",
    "Settings",
    "SplitSettings",
    "TermSettings",
    "TimirecSettings",
    "VerificationSettings",
    "as_commented_yaml",
    "explain_faults",
    "load_settings",
    "merge",
    "read_yaml",
]
