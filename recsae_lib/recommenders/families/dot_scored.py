"""What families share whose score is the dot product of representation and item embedding."""

from __future__ import annotations

import torch

from recsae_lib.recommenders.families.windows import latest_items
from recsae_lib.recommenders.protocol import Histories


class DotScored(torch.nn.Module):
    """A model with a table of item vectors, ``items``: score_i = x · items[i]."""

    dot_scored = True
    items: torch.nn.Embedding

    @torch.no_grad()
    def score(self, representations: torch.Tensor) -> torch.Tensor:
        """Return x · items[i] for every item, (batch, n)."""
        return representations @ self.items.weight.T

    def item_embeddings(self) -> torch.Tensor:
        """Return the item vectors, (n, d)."""
        return self.items.weight.detach()


class SequenceModel(DotScored):
    """A model that reads a user's latest interactions: ``forward`` makes (batch, T, d) of (batch, T) item indices.
    Items come oldest first, and a position depends on none after it. Any user with a history can be represented.
    """

    reads_user_index = False
    history_length: int | None
    size_names: tuple[str, ...] = ("item_count", "dimension")

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        """Take the latest L items of each user: ``items`` (batch, T ≤ L), oldest first, and ``last`` (batch,), the
        position of the latest one; what follows it is padding.

        Raises
        ------
        InputError : a history holds no item.
        """
        assert self.history_length is not None
        items, last = latest_items(histories.items, histories.offsets, self.history_length)
        return {"items": torch.from_numpy(items), "last": torch.from_numpy(last)}

    @torch.no_grad()
    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return x: what forward makes of the latest interaction, (batch, d)."""
        self.eval()
        return at_last(self(inputs["items"]), inputs["last"])


def at_last(values: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return ``values[b, last[b]]`` of each row b."""
    return values[torch.arange(len(values), device=values.device), last]
