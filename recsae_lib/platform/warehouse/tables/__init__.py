"""Every table of the warehouse, declared once: columns with types and comments, key, partitioning, writer.

What this package holds is imported from here: `tables.CONCEPTS`.
"""

from recsae_lib.platform.warehouse.tables.audits import (
    AUDIT_ATTEMPTS,
    AUDIT_METRICS,
    AUDITS,
    COMPARISONS,
    CONCEPT_COVERAGE,
    CONCEPT_DRIFT,
)
from recsae_lib.platform.warehouse.tables.catalogue import AUDIT_TABLES, TABLES
from recsae_lib.platform.warehouse.tables.concepts import (
    CONCEPT_LABELS,
    CONCEPT_REJECTS,
    CONCEPT_SCORES,
    CONCEPT_TERMS,
    CONCEPTS,
    INTERPRETATION_REQUESTS,
    SHUFFLED_SCORES,
    VERIFICATION_CASES,
    VERIFICATION_REJECTS,
    VERIFICATION_REQUESTS,
)
from recsae_lib.platform.warehouse.tables.data import INTERACTIONS, ITEMS, LEFT_OUT, RECOMMENDATIONS, REJECTS
from recsae_lib.platform.warehouse.tables.declaration import STAMPS, Table
from recsae_lib.platform.warehouse.tables.effects import LATENT_EFFECTS
from recsae_lib.platform.warehouse.tables.latents import LATENT_ACTIVATIONS, LATENT_ITEMS
from recsae_lib.platform.warehouse.tables.ratings import CONCEPT_RATINGS, RATING_METRICS, RATING_REJECTS, RATING_SAMPLES
from recsae_lib.platform.warehouse.tables.tuning import TUNED_RECOMMENDATIONS, TUNING_EFFECTS
from recsae_lib.platform.warehouse.tables.unit_kinds import JUDGED_UNITS, UnitKind

__all__ = [
    "AUDITS",
    "AUDIT_ATTEMPTS",
    "AUDIT_METRICS",
    "AUDIT_TABLES",
    "COMPARISONS",
    "CONCEPTS",
    "CONCEPT_COVERAGE",
    "CONCEPT_DRIFT",
    "CONCEPT_LABELS",
    "CONCEPT_RATINGS",
    "CONCEPT_REJECTS",
    "CONCEPT_SCORES",
    "CONCEPT_TERMS",
    "INTERACTIONS",
    "INTERPRETATION_REQUESTS",
    "ITEMS",
    "JUDGED_UNITS",
    "LATENT_ACTIVATIONS",
    "LATENT_EFFECTS",
    "LATENT_ITEMS",
    "LEFT_OUT",
    "RATING_METRICS",
    "RATING_REJECTS",
    "RATING_SAMPLES",
    "RECOMMENDATIONS",
    "REJECTS",
    "SHUFFLED_SCORES",
    "STAMPS",
    "TABLES",
    "TUNED_RECOMMENDATIONS",
    "TUNING_EFFECTS",
    "VERIFICATION_CASES",
    "VERIFICATION_REJECTS",
    "VERIFICATION_REQUESTS",
    "Table",
    "UnitKind",
]
