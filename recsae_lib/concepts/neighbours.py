"""The nearest other units of each unit, by the items that they are linked to."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

BLOCK_COSINES = 2**24  # cosines held at once
COSINE_STEPS = 1_000_000  # cosines closer than a millionth count as equal: the last bits differ between machines
PROFILE_WIDTH = 1024  # numbers that stand for the items of a unit; a cosine is off by some 1/√PROFILE_WIDTH


def neighbours_of(latent_items: DataFrame, number: int) -> DataFrame:
    """Find the nearest other units of each unit by the cosine of their evidence (METHOD.md section 6; ours).

    ::

        s_li = w_li / Σ_i w_li          p_i = Σ_l s_li / Σ_l Σ_i s_li          v_li = s_li / √p_i
        cos(l, m) = ⟨v_l, v_m⟩ / (‖v_l‖ ‖v_m‖)

    An item that all units are linked to counts for less (the metric of correspondence analysis). What is near is
    measured alike for units of every kind, and so hard negatives are equally hard for all of them. The cosine of
    decoder rows is not: dimensions of x stand at right angles to each other however much they have in common, and
    random directions nearly so, while trained latents crowd where the users are; by it the negatives of a raw dimension
    were no harder than random ones, and baselines seemed to be interpretable where the same negatives as the SAE's show
    that they are not.

    The pairs of `latent_items`, at most `items_per_latent` a unit, are collected; their items are hashed, with a sign,
    to `PROFILE_WIDTH` places, which keeps inner products on average (Weinberger et al. 2009). Cosines are taken in
    blocks of rows; the units × units matrix never stands whole.

    Parameters
    ----------
    latent_items : (latent_id INT, item_id, weight DOUBLE), see `link_latents_to_items`.
    number : neighbours wanted a unit; fewer where there are not so many others.

    Returns
    -------
    DataFrame : (latent_id INT, neighbour_id INT, rank INT), rank 1 is the nearest; equal cosines (to a millionth) by
        neighbour_id. A unit without evidence has no neighbours and is nobody's.
    """
    pairs: pd.DataFrame = latent_items.select("latent_id", F.xxhash64("item_id").alias("item"), "weight").toPandas()
    latents, neighbours = nearest_units(evidence_profiles(*(pairs[name].to_numpy() for name in pairs)), number)
    rows = pd.DataFrame(
        {
            "latent_id": np.repeat(latents, neighbours.shape[1]),
            "neighbour_id": neighbours.ravel(),
            "rank": np.tile(np.arange(1, neighbours.shape[1] + 1), len(latents)),
        },
        dtype=np.int32,
    )
    return latent_items.sparkSession.createDataFrame(rows, "latent_id int, neighbour_id int, rank int")


def evidence_profiles(latents: np.ndarray, items: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the hashed v_l of `neighbours_of`, (largest latent id + 1, PROFILE_WIDTH) float32, in whatever order.

    Parameters
    ----------
    latents, items, weights : (pairs,) latent ids, int64 hashes of items and weights, each pair once.
    """
    order = np.lexsort((items, latents))  # sums do not depend on the order in which rows come
    latents, items, weights = latents[order], items[order], weights[order].astype(np.float64)
    shares = weights / np.bincount(latents, weights)[latents]
    codes, distinct = pd.factorize(items)
    commonness = np.bincount(codes, shares) / max(shares.sum(), 1e-300)
    values = shares / np.sqrt(commonness[codes])
    places, signs = (distinct % PROFILE_WIDTH)[codes], np.where((distinct >> 32) & 1, 1.0, -1.0)[codes]
    profiles = np.zeros((int(latents.max(initial=-1)) + 1, PROFILE_WIDTH), dtype=np.float32)
    np.add.at(profiles, (latents, places), (values * signs).astype(np.float32))
    return profiles


def nearest_units(vectors: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the units whose vector is not zero, (units,), and their nearest others, (units, ≤ number), nearest first.

    Parameters
    ----------
    vectors : (all units, any), compared by cosine.
    """
    norms = np.linalg.norm(vectors, axis=1)
    units = np.flatnonzero(norms > 0)
    unit_vectors = (vectors[units] / norms[units, None]).astype(np.float32)
    places = np.arange(len(units))
    found = max(min(number, len(units) - 1), 0)
    nearest = np.empty((len(units), found), dtype=np.int32)
    rows = max(1, BLOCK_COSINES // max(len(units), 1))
    for start in range(0, len(units) if found else 0, rows):
        cosines = unit_vectors[start : start + rows] @ unit_vectors.T
        # One integer orders by falling cosine, then by place, and no two are alike.
        order = np.rint(cosines * -COSINE_STEPS).astype(np.int64) * len(units) + places
        own = np.arange(len(order))
        order[own, start + own] = np.iinfo(np.int64).max
        best = np.sort(np.partition(order, found - 1)[:, :found], axis=1)
        nearest[start : start + rows] = units[best % len(units)]
    return units, nearest
