"""What is audited: interactions, items, and what the recommender recommends to whom."""

from __future__ import annotations

from pyspark.sql import types as T

from recsae_lib.platform.warehouse.tables.declaration import (
    DOUBLE,
    FLOAT,
    ITEM_ID,
    LONG,
    MODEL_VERSION,
    STRING,
    TIMESTAMP,
    USER_ID,
    Table,
    array_of,
    column,
    derived,
)

INTERACTIONS = Table(
    "interactions",
    "One interaction of a user with an item",
    "ingest_dataset",
    T.StructType(
        [
            USER_ID,
            ITEM_ID,
            column("weight", DOUBLE, "Strength of the interaction: a rating or a count; 1.0 where the source has none"),
            column("ts", TIMESTAMP, "Time of the interaction (UTC)"),
            column("source_order", LONG, "Place in text files, a hash where no lines follow time: breaks ties of ts"),
        ]
    ),
    ("user_id", "item_id", "ts"),
    "data",
)

ITEMS = Table(
    "items",
    "One item of the catalogue",
    "ingest_dataset",
    T.StructType(
        [
            ITEM_ID,
            column("title", STRING, "Title for people to read; empty where the source has none"),
            column("text", STRING, "Text whose words become terms; empty where the source has none"),
            column("features", array_of(STRING), "Item features: genres, tags or categories"),
            column(
                "derived_features",
                array_of(STRING),
                "What is derived: released: 1980s, popularity: high, city: Phoenix; null in rows of earlier releases",
                nullable=True,
            ),
        ]
    ),
    ("item_id",),
    "data",
)

REJECTS = derived(
    "rejects",
    "One row of the raw data that was refused, and why",
    "ingest_dataset",
    [
        column("source", STRING, "interactions or items"),
        column("file", STRING, "File or table the row stands in"),
        column("line", LONG, "Line of the file, from 1; null where the format has no lines", nullable=True),
        column("reason", STRING, "Why the row was refused"),
        column("record", STRING, "The row as it was read, as one text of at most 1,000 characters"),
    ],
    (),
    "data",
)

LEFT_OUT = derived(
    "left_out",
    "One item that the recommender does not know, or one user for whom it has no representation, and why",
    "extract_representations",
    [
        MODEL_VERSION,
        column("kind", STRING, "item or user"),
        column("id", STRING, "Item or user, as in the source data"),
        column("interactions", LONG, "All interactions of the night with the item, or of the user"),
        column("reason", STRING, "Why the recommender cannot use it"),
    ],
    ("kind", "id"),
    "model",
)

RECOMMENDATIONS = derived(
    "recommendations",
    "The items linked to one user: recommended over the full catalogue, seen items masked; and the latest history",
    "recommend_items",
    [
        MODEL_VERSION,
        USER_ID,
        column("item_ids", array_of(STRING), "Recommended items, best first"),
        column("scores", array_of(FLOAT), "Scores of the recommended items, falling"),
        column("context_ids", array_of(STRING), "Latest items of the history, oldest first"),
    ],
    ("user_id",),
    "model",
)
