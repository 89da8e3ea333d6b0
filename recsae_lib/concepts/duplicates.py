"""Latents that are about the same thing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recsae_lib.concepts.neighbours import COSINE_STEPS, candidates_of

NEAREST = 8  # others of a latent that are looked at: enough to hold a group together, however large it is


def same_as(latent_items: DataFrame, reach: DataFrame, closeness: float) -> DataFrame:
    """Name, of each latent that is about the same thing as others, the one that stands for all (METHOD.md section 7).

    Two latents are about the same thing where the cosine of their evidence (`neighbours.neighbours_of`) is at least
    `closeness`; so are those that others connect. The latent with the most active users stands for its group, of equal
    ones that of the lowest id.

    Parameters
    ----------
    latent_items : (latent_id INT, item_id, weight DOUBLE), see `link_latents_to_items`.
    reach : (latent_id, active_users), see `publication.latent_reach`.
    closeness : smallest cosine of latents that are about the same thing.

    Returns
    -------
    DataFrame : (latent_id INT, same_as INT), one row for each latent that another one stands for.
    """
    candidates = candidates_of(latent_items, NEAREST).where(F.col("closeness") >= closeness * COSINE_STEPS)
    pairs = candidates.select("latent_id", "neighbour_id").toPandas()  # `NEAREST` rows a latent and block of latents
    users = reach.select("latent_id", "active_users").toPandas()  # M rows
    return latent_items.sparkSession.createDataFrame(represented(pairs, users), "latent_id int, same_as int")


def represented(pairs: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """Join pairs to groups, and name for each member but the first the one of the most users.

    Parameters
    ----------
    pairs : (latent_id, neighbour_id), in any order.
    users : (latent_id, active_users); a latent without a row has none.

    Returns
    -------
    DataFrame : (latent_id, same_as), by rising id.
    """
    latents, ends = np.unique(pairs[["latent_id", "neighbour_id"]].to_numpy(dtype=np.int64), return_inverse=True)
    left, right = ends.reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(left)), (left, right)), shape=(len(latents), len(latents)))
    group = connected_components(graph, directed=False)[1] if len(latents) else latents
    active = users.set_index("latent_id")["active_users"].reindex(latents, fill_value=0).to_numpy()
    by_users = np.lexsort((latents, -active))
    firsts = pd.Series(latents[by_users]).groupby(group[by_users], sort=False).first()
    standing = firsts.reindex(group).to_numpy() if len(latents) else latents
    others = latents != standing
    return pd.DataFrame({"latent_id": latents[others], "same_as": standing[others]})
