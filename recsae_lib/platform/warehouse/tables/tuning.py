"""What tunings do: what every user is recommended under them, and how lists change on held-out users."""

from __future__ import annotations

from recsae_lib.platform.warehouse.tables.declaration import (
    DOUBLE,
    FLOAT,
    INT,
    MODEL_VERSION,
    SAE_VERSION,
    STRING,
    USER_ID,
    array_of,
    column,
    derived,
)

TUNING = column("tuning", STRING, "Name of the tuning, as in the settings")

TUNED_RECOMMENDATIONS = derived(
    "tuned_recommendations",
    "The items recommended to one user under one tuning, over the full catalogue, seen items masked; no rows without "
    "tunings",
    "tune_recommendations",
    [
        MODEL_VERSION,
        SAE_VERSION,
        TUNING,
        USER_ID,
        column("item_ids", array_of(STRING), "Recommended items, best first"),
        column("scores", array_of(FLOAT), "Scores of the recommended items, falling; 1 / place of a mix"),
        column("changed", INT, "How many of the items are not among those of the user in recommendations"),
    ],
    ("tuning", "user_id"),
)

TUNING_EFFECTS = derived(
    "tuning_effects",
    "One metric of what a tuning, or a control of it, changes for held-out users; no rows without tunings",
    "tune_recommendations",
    [
        MODEL_VERSION,
        SAE_VERSION,
        TUNING,
        column("method", STRING, "What changed the lists: the tuning, or a control of it"),
        column("strength", DOUBLE, "How far the method was taken; null where it has no strength", nullable=True),
        column("comparison", STRING, "What is the same for all methods of the tuning: overlap or ndcg"),
        column("metric", STRING, "Name of the metric"),
        column("value", DOUBLE, "Its value; null where it is not defined", nullable=True),
        column("low", DOUBLE, "Lower end of its 95 % interval over users; null where there is none", nullable=True),
        column("high", DOUBLE, "Upper end of its 95 % interval over users; null where there is none", nullable=True),
    ],
    ("tuning", "method", "comparison", "metric"),
)
