"""How far from the middle representations lie, so that a few odd ones decide nothing (METHOD.md section 2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import torch

SHARE, FACTOR = 0.9, 4.0
MEASURED_ROWS = 8192  # of a sample, by which its reach is measured
MOST_ROWS, MOST_BYTES = 100_000, 2**26  # of a bounded sample: 64 MiB, which is fewer rows from d = 168 on

Rows = TypeVar("Rows", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Reach:
    """The middle of a set of representations, and the radius around it within which rows count as they are.

    ::

        centre = median of each dimension
        radius = 4 · the 0.9 quantile of the distances from the centre that are above 0

    Parameters
    ----------
    centre : (d,) float32
    radius : infinite where all rows are alike.
    """

    centre: torch.Tensor
    radius: float

    @classmethod
    def of(cls, sample: torch.Tensor) -> Reach:
        """Measure a random sample, (n, d) float32."""
        rows = sample.cpu().numpy()
        if not len(rows):
            return cls(sample.new_zeros(sample.shape[1]), math.inf)
        centre = np.median(rows, axis=0).astype(np.float32)
        distances = np.linalg.norm(rows.astype(np.float64) - centre, axis=1)
        positive = distances[distances > 0]
        radius = FACTOR * float(np.quantile(positive, SHARE)) if len(positive) else math.inf
        return cls(torch.from_numpy(centre).to(sample.device), radius)

    def distances(self, x: Rows) -> Rows:
        """Distance of (n, d) rows from the centre, in radii: above 1 a row lies beyond reach."""
        away = x - self._like(x)
        einsum = np.einsum if isinstance(x, np.ndarray) else torch.einsum  # half the time of a square and its sum
        with np.errstate(over="ignore"):  # an infinite distance is beyond reach too
            return einsum("nd,nd->n", away, away) ** 0.5 / self.radius

    def clip(self, x: Rows) -> Rows:
        """Move (n, d) rows that lie beyond reach towards the centre, to its edge; all others stay as they are."""
        distance = self.distances(x)
        beyond = distance > 1
        if not beyond.any():
            return x
        centre, clipped = self._like(x), x * 1  # a copy
        clipped[beyond] = centre + (x[beyond] - centre) / distance[beyond][:, None]
        return clipped

    def _like(self, x: Rows) -> Rows:
        return self.centre.numpy() if isinstance(x, np.ndarray) else self.centre


def bounded_rows(dimension: int) -> int:
    """Rows of a bounded sample: 100,000, or as many as 64 MiB hold."""
    return max(min(MOST_ROWS, MOST_BYTES // (4 * dimension)), 1)


def bounded_sample(batches: Iterable[torch.Tensor], dimension: int) -> torch.Tensor:
    """Return the first `bounded_rows` rows of a shuffled stream of (batch, d) batches, within reach, on the CPU."""
    rows = first_rows(batches, bounded_rows(dimension), dimension)[0].cpu()
    return Reach.of(rows[:MEASURED_ROWS]).clip(rows)


def first_rows(
    batches: Iterable[torch.Tensor], count: int, dimension: int
) -> tuple[torch.Tensor, Iterator[torch.Tensor]]:
    """Return the first `count` rows of a stream of (batch, d) batches, and the stream from its beginning."""
    stream, seen, rows = iter(batches), [torch.empty(0, dimension)], 0
    for batch in stream:
        seen.append(batch)
        rows += len(batch)
        if rows >= count:
            break
    sample = torch.cat([batch.to(seen[-1].device) for batch in seen])[:count]
    return sample, chain(seen[1:], stream)
