"""What people say of concepts."""

from __future__ import annotations

from pyspark.sql import types as T

from recsae_lib.platform.warehouse.tables.declaration import (
    BOOLEAN,
    DOUBLE,
    INT,
    SAE_VERSION,
    STRING,
    Table,
    column,
    derived,
)

SAMPLE = column("sample", STRING, "Digest of the sample of concepts that people rate")
CASE_ID = column("case_id", STRING, "Anonymous name of the case on the page of the sample")
RATED_KIND = column(
    "kind", STRING, "concept, or a check of the rater: repeat (shown again), wrong_label (of another concept)"
)
RATED_LATENT_ID = column("latent_id", INT, "Latent whose terms and items are shown")

RATING_SAMPLES = derived(
    "rating_samples",
    "One case of a sample of concepts that people rate: the key to the page, which tells neither latents nor checks",
    "recsae ratings",
    [
        SAMPLE,
        SAE_VERSION,
        CASE_ID,
        column("place", INT, "Place on the page, from 1"),
        RATED_KIND,
        RATED_LATENT_ID,
        column("label_latent_id", INT, "Latent whose label is shown: another one where the label is wrong"),
        column("label", STRING, "Label as shown"),
        column("description", STRING, "Description as shown"),
        column("stratum", STRING, "Band of confidence, and interpretable or not, of latent_id"),
        column("stratum_concepts", INT, "Published concepts with a label in the stratum: its weight in a mean"),
        column("confidence", DOUBLE, "Confidence of latent_id when the sample was drawn", nullable=True),
        column("interpretable", BOOLEAN, "Whether latent_id was interpretable when the sample was drawn"),
    ],
    ("sample", "case_id"),
    published_by="directly",
)

CONCEPT_RATINGS = derived(
    "concept_ratings",
    "What one person says of one case: how well the label fits",
    "recsae ratings",
    [
        SAMPLE,
        SAE_VERSION,
        CASE_ID,
        RATED_KIND,
        RATED_LATENT_ID,
        column("rater", STRING, "Who rated, by the name given on the page"),
        column("rating", INT, "1 (not at all) to 4 (very well); 0: the rater cannot tell, which no mean counts"),
    ],
    ("sample", "case_id", "rater"),
    published_by="directly",
)

RATING_REJECTS = Table(  # no dt: a row may name no sample, and so no audit
    "rating_rejects",
    "One row of a file of ratings that was refused, and why",
    "recsae ratings",
    T.StructType(
        [
            column("file", STRING, "Name of the file"),
            column("file_digest", STRING, "Digest of its content"),
            column("line", INT, "Line of the file, from 1"),
            column("reason", STRING, "Why the row was refused"),
            column("record", STRING, "The row as it was read, as JSON of at most 1,000 characters"),
        ]
    ),
    ("file_digest", "line"),
    published_by="directly",
)

RATING_METRICS = derived(
    "rating_metrics",
    "One figure of what people say of the concepts of one sample",
    "recsae ratings",
    [
        SAMPLE,
        SAE_VERSION,
        column("raters", STRING, "Whose ratings count: all, or attentive (those who pass the checks)"),
        column("subject", STRING, "concepts (all), interpretable, not interpretable, stratum: NAME, rater: NAME"),
        column("metric", STRING, "Name of the figure, as `recsae ratings report` explains it"),
        column("value", DOUBLE, "Its value; null where it is not defined", nullable=True),
    ],
    ("sample", "raters", "subject", "metric"),
    published_by="directly",
)
