"""Mean and total variance of a stream of representations, exact to float64."""

from __future__ import annotations

import torch


class RunningMoments:
    """Count, mean and Σ‖x − mean(x)‖² of all rows seen, merged batch by batch (Chan, Golub, LeVeque 1983).

    Attributes
    ----------
    rows : rows seen.
    mean : (d,) float64
    squared_deviations : Σ‖x − mean(x)‖² over the rows.
    """

    def __init__(self, dimension: int, device: torch.device | str = "cpu") -> None:
        self.rows = 0
        self.mean = torch.zeros(dimension, dtype=torch.float64, device=device)
        self.squared_deviations = 0.0

    def add(self, x: torch.Tensor) -> None:
        """Take (batch, d) rows in."""
        if len(x) == 0:
            return
        x = x.double()
        mean = x.mean(0)
        self.merge(len(x), mean, float((x - mean).square().sum()))

    def merge(self, rows: int, mean: torch.Tensor, squared_deviations: float) -> None:
        """Take in what other rows came to."""
        together = self.rows + rows
        shift = mean - self.mean
        self.squared_deviations += squared_deviations
        self.squared_deviations += float(shift.square().sum()) * self.rows * rows / together
        self.mean += shift * (rows / together)
        self.rows = together
