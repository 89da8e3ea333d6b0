"""The list of all tables."""

from __future__ import annotations

from recsae_lib.platform.warehouse.tables import audits, concepts, data, effects, latents, ratings, tuning
from recsae_lib.platform.warehouse.tables.declaration import Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        data.INTERACTIONS,
        data.ITEMS,
        data.REJECTS,
        data.LEFT_OUT,
        data.RECOMMENDATIONS,
        latents.LATENT_ACTIVATIONS,
        latents.LATENT_ITEMS,
        concepts.CONCEPT_TERMS,
        effects.LATENT_EFFECTS,
        concepts.CONCEPT_LABELS,
        concepts.CONCEPT_REJECTS,
        concepts.INTERPRETATION_REQUESTS,
        concepts.VERIFICATION_CASES,
        concepts.CONCEPT_SCORES,
        concepts.SHUFFLED_SCORES,
        concepts.VERIFICATION_REJECTS,
        concepts.VERIFICATION_REQUESTS,
        concepts.CONCEPTS,
        tuning.TUNED_RECOMMENDATIONS,
        tuning.TUNING_EFFECTS,
        audits.CONCEPT_COVERAGE,
        audits.AUDIT_METRICS,
        audits.CONCEPT_DRIFT,
        audits.COMPARISONS,
        audits.AUDITS,
        audits.AUDIT_ATTEMPTS,
        ratings.RATING_SAMPLES,
        ratings.CONCEPT_RATINGS,
        ratings.RATING_REJECTS,
        ratings.RATING_METRICS,
    )
}
# What an audit writes on its branch, and publishes.
AUDIT_TABLES = tuple(table for table in TABLES.values() if table.published_by == "audit")
