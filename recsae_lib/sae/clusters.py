"""Directions of k-means centroids of representations: an SAE may begin with them, and a baseline is made of them."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

PASSES = 10  # over the rows
BATCH_ROWS = 1024
FIRST_ROWS = 4  # a cluster, at least a batch: of which the first centroids are taken
CAREFUL = 1024  # up to so many centroids k-means++ finds the first ones; beyond, it takes longer than all that follows


def cluster_directions(rows: torch.Tensor, clusters: int, seed: int) -> torch.Tensor:
    """Return unit directions from the mean of the rows to their k-means centroids, (clusters, d) float32.

    Mini-batch k-means (Sculley 2010) of a fixed number of passes: the same rows and seed give the same bits. Where
    there are fewer rows than clusters, each row is one, and the other directions are zero.

    Parameters
    ----------
    rows : (n, d) float32, a bounded random sample.
    """
    found = min(clusters, len(rows))
    means = MiniBatchKMeans(
        n_clusters=found,
        init="k-means++" if found <= CAREFUL else "random",
        init_size=max(FIRST_ROWS * found, BATCH_ROWS),
        max_iter=PASSES,
        batch_size=BATCH_ROWS,
        random_state=seed,
        n_init=1,
        max_no_improvement=None,
    )
    # Several threads would wait for each other: they take four times as long for 64 clusters.
    with threadpool_limits(1):
        means.fit(rows.cpu().numpy())
    centroids = np.zeros((clusters, rows.shape[1]), np.float32)
    centroids[:found] = means.cluster_centers_ - rows.mean(0).cpu().numpy()
    return F.normalize(torch.from_numpy(centroids)).to(rows.device)
