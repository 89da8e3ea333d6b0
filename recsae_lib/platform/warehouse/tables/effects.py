"""What the latents do to the output of the recommender."""

from __future__ import annotations

from recsae_lib.platform.warehouse.tables.declaration import (
    DOUBLE,
    INT,
    LATENT_ID,
    LONG,
    SAE_VERSION,
    STRING,
    column,
    derived,
)

LATENT_EFFECTS = derived(
    "latent_effects",
    "What a step along one latent does to the score of one item, or of the items with one feature",
    "compute_latent_effects",
    [
        SAE_VERSION,
        LATENT_ID,
        column("kind", STRING, "item, feature (of the catalogue) or derived (derived feature)"),
        column("item_id", STRING, "Item, as in the source data; null of features", nullable=True),
        column("feature", STRING, "The feature; null of items", nullable=True),
        column(
            "effect",
            DOUBLE,
            "By how much the score rises for each unit of activation: of an item, above the mean over all items; of a "
            "feature, on average over the items with it, above the average of all others",
        ),
        column(
            "output_score",
            DOUBLE,
            "effect of a feature in standard deviations of the latent's effect over all items; null of items",
            nullable=True,
        ),
        column(
            "p_value",
            DOUBLE,
            "Chance that a feature dealt out to as many items at random has an output_score as far from 0, in the "
            "standard deviations of such scores; null of items",
            nullable=True,
        ),
        column(
            "q_value",
            DOUBLE,
            "p_value after Benjamini-Hochberg over all pairs of live latent and feature; null of items",
            nullable=True,
        ),
        column("items", LONG, "Items with the feature that the recommender knows; null of items", nullable=True),
        column(
            "rank",
            INT,
            "Rank by effect of items, by output_score of features, within latent and kind: 1, 2, … from the highest "
            "(pushed up most), -1, -2, … from the lowest (pushed down most), whichever is nearer",
        ),
    ],
    ("latent_id", "kind", "rank"),
)
