"""What a step of x does to the score of each item: one vector an item, whatever way the recommender scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.shipping import ShippedFolder, ship_folder
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.recommend import BLOCK_SCORES
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.worker import worker_recommender
from recsae_lib.representations.moments import sample_rows

SAMPLE_USERS = 256  # over whom slopes are averaged
STEP = 0.01  # of the distance of x from its mean, by which x is moved to both sides
SLOPES = "slopes.npy"  # (d, n) float32

Score = Callable[[torch.Tensor], torch.Tensor]  # (rows, d) to (rows, n)


@dataclass(frozen=True)
class ItemVectors:
    """Where the item vectors of a recommender lie, e_i with score changes of e_i · step.

    Parameters
    ----------
    model : folder of `recommenders.store`.
    factory : as `load_recommender`.
    slopes : folder with what `mean_slopes` wrote; None where the recommender scores by the vectors that it holds.
    """

    model: Path
    factory: str | None
    slopes: Path | None

    @classmethod
    def of_model(cls, model: Path, factory: str | None, representations: DataFrame) -> ItemVectors:
        """Find the item vectors, or measure them on users drawn by hash where items are scored by a method.

        Parameters
        ----------
        representations : (user_id, representation ARRAY<FLOAT>) of the site from which items are scored.

        Raises
        ------
        InputError : recommendations of your own without item vectors.
        """
        loaded = load_recommender(model, factory)
        if (missing := why_no_item_vectors(loaded)) is not None:
            raise InputError(missing, "Give recommender.external.item_embeddings")
        if loaded.dot_scored:
            return cls(model, factory, None)
        folder = Path(mkdtemp(prefix="slopes-", dir=SparkFiles.getRootDirectory()))  # goes with the application
        x = torch.from_numpy(sample_rows(representations)[:SAMPLE_USERS])
        shape = (x.shape[1], loaded.item_count)
        out = np.lib.format.open_memmap(folder / SLOPES, mode="w+", dtype=np.float32, shape=shape)
        mean_slopes(loaded.score, x, out)
        out.flush()
        return cls(model, factory, folder)

    def read(self) -> np.ndarray:
        """Return them, (n, d) float32, mapped from the file."""
        if self.slopes is None:
            return load_recommender(self.model, self.factory).item_embeddings().detach().numpy()
        return _mapped(self.slopes)

    def ship(self, spark: SparkSession) -> ShippedVectors:
        """Bring them to every executor."""
        slopes = None if self.slopes is None else ship_folder(spark, self.slopes)
        return ShippedVectors(ship_folder(spark, self.model), self.factory, slopes)


@dataclass(frozen=True)
class ShippedVectors:
    """`ItemVectors` on their way to the executors; `worker_vectors` reads them there."""

    model: ShippedFolder
    factory: str | None
    slopes: ShippedFolder | None


def why_no_item_vectors(model: Recommender) -> str | None:
    """Why nobody can say what a step of x does to the scores; None where it can be said."""
    if model.dimension:
        return None
    return "Recommendations of your own without item vectors do not say how items are scored from a representation"


@lru_cache(maxsize=1)
def worker_vectors(shipped: ShippedVectors) -> np.ndarray:
    """Load item vectors, (n, d) float32, once a worker process; torch then computes with one thread."""
    torch.set_num_threads(1)
    if shipped.slopes is None:
        return worker_recommender(shipped.model, shipped.factory).item_embeddings().detach().numpy()
    return _mapped(Path(shipped.slopes))


@torch.no_grad()
def mean_slopes(score: Score, x: torch.Tensor, out: np.ndarray) -> np.ndarray:
    """Measure how the scores of all items change with each dimension of x, on average over a sample of users.

    ::

        out[j, i] = mean over u of (score_i(x_u + ε 1_j) − score_i(x_u − ε 1_j)) / 2ε
        ε         = 0.01 √(mean over u of ‖x_u − x̄‖²)

    This is the mean Jacobian, by central differences: exact for scores that are linear or quadratic in x. Users are
    scored in blocks of at most `BLOCK_SCORES` scores.

    Parameters
    ----------
    score : the scores of all n items of (rows, d) representations, (rows, n).
    x : (S, d) float32, one row or more.
    out : (d, n) float32, which is filled; it may be a mapped file.

    Returns
    -------
    (n, d), a view of `out`.
    """
    away = float((x - x.mean(0)).square().sum(1).mean().sqrt())
    step, rows = STEP * (away or 1.0), max(1, BLOCK_SCORES // (2 * out.shape[1]))
    for dimension in range(x.shape[1]):
        total = torch.zeros(out.shape[1], dtype=torch.float64)
        for start in range(0, len(x), rows):
            ahead, behind = x[start : start + rows].clone(), x[start : start + rows].clone()
            ahead[:, dimension] += step
            behind[:, dimension] -= step
            total += (score(ahead) - score(behind)).sum(0, dtype=torch.float64)
        out[dimension] = (total / (2 * step * len(x))).numpy()
    return out.T


def _mapped(folder: Path) -> np.ndarray:
    # Copied on write, which never happens: torch warns of arrays that it may not write to.
    slopes: np.ndarray = np.load(folder / SLOPES, mmap_mode="c", allow_pickle=False)
    return slopes.T
