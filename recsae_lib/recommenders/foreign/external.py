"""A recommender of which only its results are known: representations of users, and item vectors or recommendations."""

from __future__ import annotations

from typing import Any

import torch

from recsae_lib.config import ExternalSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.protocol import Histories


class External(torch.nn.Module):
    """Item vectors E of your own, or nothing but the names of your tables.

    ::

        score_i = x · E[i]          x from your table of representations

    Parameters
    ----------
    item_count : n
    dimension : d; E is (n, d). 0 without item vectors.
    settings : the tables that stand for the model where it has no item vectors; empty where it has.
    """

    kind = "external"
    reads_user_index = False
    history_length: int | None = None
    architecture: tuple[str, ...] = ("representations", "recommendations")

    def __init__(self, item_count: int, dimension: int, settings: ExternalSettings) -> None:
        super().__init__()
        self.item_count, self.dimension, self.settings = item_count, dimension, settings
        self.dot_scored = dimension > 0
        self.size_names: tuple[str, ...] = ("item_count", "dimension") if dimension else ("item_count",)
        if dimension:
            self.register_buffer("items", torch.empty(item_count, dimension))

    @classmethod
    def from_description(cls, sizes: dict[str, int], settings: dict[str, Any]) -> External:
        """Build what recommender.json describes; the item vectors are still to be loaded.

        Raises
        ------
        ValidationError : the settings are impossible.
        """
        stated = ExternalSettings.model_validate(settings, strict=True)
        return cls(sizes["item_count"], sizes.get("dimension", 0), stated)

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        """Raise InputError: nothing is known of the model that made the representations."""
        raise InputError("Representations of kind external are read from their table", "Extract them first")

    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Raise InputError, as `build_inputs`."""
        raise InputError("Representations of kind external are read from their table", "Extract them first")

    @torch.no_grad()
    def score(self, representations: torch.Tensor) -> torch.Tensor:
        """Return x · E[i] for every item, (batch, n).

        Raises
        ------
        InputError : there are no item vectors, or they are not d floats as x.
        """
        vectors = self.item_embeddings()
        if representations.shape[1] != self.dimension:
            raise InputError(
                f"Representations have {representations.shape[1]} dimensions, item vectors {self.dimension}",
                "Give both of the same model: recommender.external",
            )
        return representations @ vectors.T

    def item_embeddings(self) -> torch.Tensor:
        """Return E, (n, d); (0, 0) without item vectors."""
        return self.get_buffer("items") if self.dot_scored else torch.empty(0, 0)
