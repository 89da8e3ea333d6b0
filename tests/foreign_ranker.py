"""A transformer ranker as somebody else would write it: nothing of the suite is imported here."""

from __future__ import annotations

import torch


class ForeignRanker(torch.nn.Module):
    """A causal torch.nn.TransformerEncoder over items 1 … n; row 0 is padding."""

    def __init__(self, rows: int, dimension: int, length: int, layers: int, normalise: bool) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(rows, dimension, padding_idx=0)
        self.positions = torch.nn.Parameter(torch.randn(length, dimension) / 10)
        layer = torch.nn.TransformerEncoderLayer(dimension, 2, 16, dropout=0.2, batch_first=True)
        norm = torch.nn.LayerNorm(dimension) if normalise else None
        self.encoder = torch.nn.TransformerEncoder(layer, layers, norm)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(length)
        self.register_buffer("causal", causal)

    def forward(self, items: torch.Tensor, padding_mask: torch.Tensor) -> torch.Tensor:
        h = self.items(items) + self.positions
        # No infinity: where padding comes first, a position of it would have nothing to attend to.
        padding = torch.zeros(padding_mask.shape).masked_fill(padding_mask, -1e9)
        output: torch.Tensor = self.encoder(h, mask=self.causal, src_key_padding_mask=padding)
        return output


class UserFactors(torch.nn.Module):
    """Factors of users; scores by a layer of its own, with a bias, so that no item vectors are named."""

    def __init__(self, users: int, rows: int, dimension: int) -> None:
        super().__init__()
        self.users = torch.nn.Embedding(users, dimension)
        self.output = torch.nn.Linear(dimension, rows)

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.users(users)
        return vectors

    def score(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.output(x)
        return scores


def build_ranker(
    rows: int, dimension: int = 8, length: int = 6, layers: int = 2, normalise: bool = True
) -> ForeignRanker:
    torch.manual_seed(0)
    return ForeignRanker(rows, dimension, length, layers, normalise)


def build_factors(users: int, rows: int, dimension: int = 8) -> UserFactors:
    torch.manual_seed(0)
    return UserFactors(users, rows, dimension)


def build_nothing() -> str:
    return "nothing"


def build_failing() -> torch.nn.Module:
    raise ValueError("no such table")
