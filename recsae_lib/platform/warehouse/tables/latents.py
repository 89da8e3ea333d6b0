"""Where the latents fire, and for which items."""

from __future__ import annotations

from recsae_lib.platform.warehouse.tables.declaration import (
    DOUBLE,
    FLOAT,
    INT,
    ITEM_ID,
    LATENT_ID,
    LONG,
    SAE_VERSION,
    USER_ID,
    array_of,
    column,
    derived,
)

LATENT_ACTIVATIONS = derived(
    "latent_activations",
    "The active latents of one user",
    "encode_latents",
    [
        SAE_VERSION,
        USER_ID,
        column("latent_ids", array_of(INT), "Active latents by falling activation; at most k"),
        column("activations", array_of(FLOAT), "Activations of those latents, positive"),
        column(
            "fvu",
            DOUBLE,
            "Share of the squared distance from the mean that reconstruction loses; above 1 the mean is nearer to the "
            "user; null for a user who lies on the mean, and in rows of earlier versions",
            nullable=True,
        ),
        column(
            "distance",
            DOUBLE,
            "Distance of the representation from the middle of all; above 1 it is an outlier, which weighs no more in "
            "training than one at 1; null in rows of earlier versions",
            nullable=True,
        ),
    ],
    ("user_id",),
)

LATENT_ITEMS = derived(
    "latent_items",
    "The evidence that links one latent to one item, from users of the construct half",
    "compute_concept_terms",
    [
        SAE_VERSION,
        LATENT_ID,
        ITEM_ID,
        column("weight", DOUBLE, "Sum of the activations of the users that the item is linked to"),
        column("users", LONG, "Users behind the weight"),
        column("rank", INT, "Rank by weight within the latent, from 1; ties break on item_id"),
    ],
    ("latent_id", "item_id"),
)
