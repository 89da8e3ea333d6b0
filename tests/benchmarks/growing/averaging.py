"""The recommender of the growth benchmark: a module of one's own that averages the vectors of a history's items."""

from __future__ import annotations

import torch


class AveragedItems(torch.nn.Module):
    """x is the mean of the vectors of the latest items, x · E their score; row 0 is padding."""

    def __init__(self, rows: int, dimension: int) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(rows, dimension, padding_idx=0)

    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.items(items).sum(1) / lengths[:, None]  # the vector of the padding is zero
        return x


def build(rows: int, dimension: int) -> AveragedItems:
    return AveragedItems(rows, dimension)
