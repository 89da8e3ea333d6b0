"""Figures of an audit, beside those of others, and the list of audits."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import types as T

from recsae_lib.platform.warehouse.tables.declaration import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    LONG,
    MODEL_VERSION,
    SAE_VERSION,
    STRING,
    TIMESTAMP,
    array_of,
    column,
    derived,
)
from recsae_lib.platform.warehouse.tables.unit_kinds import JUDGED_UNITS, UnitKind


def unit_kind(kinds: Iterable[UnitKind]) -> T.StructField:
    """Declare the column that says which of these kinds was measured."""
    meanings = ", ".join(f"{kind} ({kind.meaning})" for kind in kinds)
    return column("unit_kind", STRING, f"What was measured: {meanings}")


CONCEPT_COVERAGE = derived(
    "concept_coverage",
    "What share of features, items and users the interpretable units of one kind reach at one confidence",
    "measure_coverage",
    [
        SAE_VERSION,
        unit_kind(JUDGED_UNITS),
        column("min_confidence", DOUBLE, "Confidence from which a unit counts (its q-value must pass as well)"),
        column("feature_coverage", DOUBLE, "Share of item features that are a significant term of a counted unit"),
        column("item_coverage", DOUBLE, "Share of catalogue items linked to a counted unit"),
        column("user_coverage", DOUBLE, "Share of users for whom a counted unit fires"),
        column("shuffled_feature_coverage", DOUBLE, "feature_coverage after the labels were shuffled over the units"),
        column("units", LONG, "Units counted"),
        column("units_expected_by_chance", DOUBLE, "Units that a coin as judge would let count"),
        column(
            "derived_feature_coverage",
            DOUBLE,
            "The same share of derived features, which feature_coverage leaves out; null in rows of earlier releases",
            nullable=True,
        ),
    ],
    ("unit_kind", "min_confidence"),
)

AUDIT_METRICS = derived(
    "audit_metrics",
    "One metric of the audit",
    "measure_coverage",
    [
        SAE_VERSION,
        unit_kind(UnitKind),
        column("metric", STRING, "Name of the metric"),
        column("value", DOUBLE, "Its value; null where it is not defined", nullable=True),
    ],
    ("unit_kind", "metric"),
)

CONCEPT_DRIFT = derived(
    "concept_drift",
    "One live latent of this audit or of an earlier one, and what became of it; no rows in the first audit",
    "compare_versions",
    [
        SAE_VERSION,
        column("previous_dt", DATE, "Date of the audit that this one is compared with"),
        column("previous_sae_version", INT, "Version of its sparse autoencoder in the registry"),
        column("pair", STRING, "previous_latent_id>latent_id, with nothing for what there is not"),
        column(
            "change",
            STRING,
            "stable (matched, similar terms), drifted (matched, other terms), split (of a latent that another one "
            "continues), merged (into a latent that continues another one), born or gone",
        ),
        column("previous_latent_id", INT, "Latent of the earlier audit; null if born", nullable=True),
        column("latent_id", INT, "Latent of this audit; null if gone", nullable=True),
        column("similarity_by", STRING, "decoder (cosine of rows) or activations (correlation over the same users)"),
        column("similarity", DOUBLE, "Of the two latents; null if born or gone", nullable=True),
        column("term_similarity", DOUBLE, "Cosine between their tfidf; null where either has no terms", nullable=True),
        column("previous_label", STRING, "Label in the earlier audit", nullable=True),
        column("label", STRING, "Label in this audit", nullable=True),
        column("terms_gained", array_of(STRING), "Top terms of latent_id that previous_latent_id had not, best first"),
        column("terms_lost", array_of(STRING), "Top terms of previous_latent_id that latent_id has not, best first"),
        column("previous_density", DOUBLE, "Share of the users that it fired for", nullable=True),
        column("density", DOUBLE, "Share of the users that it fires for", nullable=True),
    ],
    ("pair",),
)

COMPARISONS = derived(
    "comparisons",
    "One metric of one audit of a study (`recsae compare`)",
    "recsae compare",
    [
        column("data_set", STRING, "Data set, as the study names it"),
        column("model", STRING, "Model, as the study names it"),
        column("site", STRING, "Probing site"),
        column("unit_kind", STRING, "As in audit_metrics"),
        column(
            "metric",
            STRING,
            "As in audit_metrics; columns of concept_coverage as feature_coverage_at_0.8; found_in_X: share of the "
            "units that model X of the study has too",
        ),
        column("value", DOUBLE, "Its value; null where there is nothing to measure", nullable=True),
    ],
    ("data_set", "model", "site", "unit_kind", "metric"),
    "data",
    published_by="directly",
)
_ORIGIN = [
    column("started_at", TIMESTAMP, "When the first job of the audit started (UTC)"),
    column("finished_at", TIMESTAMP, "When the audit was published or refused (UTC)"),
    column("config_digest", STRING, "Digest of the resolved settings"),
    column("code_version", STRING, "Version of the package and commit"),
]
AUDITS = derived(
    "audits",
    "One published audit; adding the row publishes all its tables at once",
    "publish_audit",
    [
        column("publication", INT, "Number of the publication, from 1 in the order in which they came"),
        MODEL_VERSION,
        SAE_VERSION,
        *_ORIGIN,
        column("snapshots", T.MapType(STRING, LONG, False), "Snapshot of each table that its readers see, by name"),
        column("kept", BOOLEAN, "Whether the tables still hold it; false from the moment when the upkeep removes it"),
    ],
    ("publication",),
    published_by="directly",
)
AUDIT_ATTEMPTS = derived(
    "audit_attempts",
    "One audit that came to its end, published or refused",
    "publish_audit",
    [
        column("status", STRING, "published, or failed where a check kept the audit on its branch"),
        column("publication", INT, "Number of its publication; null if failed", nullable=True),
        MODEL_VERSION,
        SAE_VERSION,
        *_ORIGIN,
    ],
    ("started_at",),
    published_by="directly",
)
