"""SASRec: a causal transformer that reads a user's latest interactions and predicts the next one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.config import SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.dot_scored import SequenceModel
from recsae_lib.recommenders.families.windows import Windows, next_item_loss
from recsae_lib.recommenders.training_histories import TrainingHistories

INITIAL_DEVIATION = 0.02


class Sasrec(SequenceModel):
    """Self-attentive sequential recommender (Kang and McAuley, arXiv 1808.09781); normalisation after each sublayer.

    ::

        h_t  = Dropout(LayerNorm(E[i_t] + P_t))                       t = 1 … T: the latest T ≤ L interactions
        a_t  = LayerNorm(h_t + Dropout(W_o Attention(h)_t + b_o))     causal: t attends to 1 … t
        h_t  ← LayerNorm(a_t + Dropout(W_2 GELU(W_1 a_t + b_1) + b_2))          in each block
        x    = h_T after the last block                               x ∈ R^d
        score_i = x · E[i]

    E reads items and scores them.

    Parameters
    ----------
    item_count : n; E is (n, d).
    dimension : d
    settings : its layers, heads, history_length L (P is (L, d)) and inner_dimension (W_1 is (inner, d)) say what the
        weights are, dropout how they are trained.

    Raises
    ------
    InputError : the heads do not divide d.
    """

    kind = "sasrec"
    architecture: tuple[str, ...] = ("layers", "heads", "history_length", "inner_dimension")

    def __init__(self, item_count: int, dimension: int, settings: SasrecSettings) -> None:
        super().__init__()
        if dimension % settings.heads:
            raise InputError(
                f"{settings.heads} attention heads do not divide {dimension} dimensions",
                "Set recommender.sasrec.heads to a divisor of recommender.dimension",
            )
        self.item_count, self.dimension, self.settings = item_count, dimension, settings
        self.history_length = settings.history_length
        self.items = torch.nn.Embedding(item_count, dimension)
        self.positions = torch.nn.Embedding(settings.history_length, dimension)
        self.norm = torch.nn.LayerNorm(dimension)
        self.blocks = torch.nn.ModuleList(_Block(dimension, settings) for _ in range(settings.layers))
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=INITIAL_DEVIATION)
            elif name.endswith("bias"):
                torch.nn.init.zeros_(parameter)

    @classmethod
    def from_description(cls, sizes: dict[str, int], settings: dict[str, Any]) -> Sasrec:
        """Build what recommender.json describes; the weights are still to be loaded.

        Raises
        ------
        InputError, ValidationError : the settings are impossible.
        """
        return cls(**sizes, settings=SasrecSettings.model_validate(settings, strict=True))

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Return h after the last block, (batch, T, d), of (batch, T) item indices, oldest first."""
        h = self.norm(self.items(items) + self.positions.weight[: items.shape[1]])
        h = F.dropout(h, self.settings.dropout, self.training)
        for block in self.blocks:
            h = block(h)
        return h


class _Block(torch.nn.Module):
    """Attention and feed-forward layer, each with residual connection, dropout and normalisation."""

    def __init__(self, dimension: int, settings: SasrecSettings) -> None:
        super().__init__()
        self.heads, self.dropout = settings.heads, settings.dropout
        self.attention_in = torch.nn.Linear(dimension, 3 * dimension)
        self.attention_out = torch.nn.Linear(dimension, dimension)
        self.attention_norm = torch.nn.LayerNorm(dimension)
        self.inner = torch.nn.Linear(dimension, settings.inner_dimension)
        self.outer = torch.nn.Linear(settings.inner_dimension, dimension)
        self.norm = torch.nn.LayerNorm(dimension)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        batch, length, dimension = h.shape
        rate = self.dropout if self.training else 0.0
        q, k, v = (
            self.attention_in(h).view(batch, length, 3, self.heads, dimension // self.heads).permute(2, 0, 3, 1, 4)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=rate)
        attended = self.attention_out(attended.transpose(1, 2).reshape(batch, length, dimension))
        a = self.attention_norm(h + F.dropout(attended, rate))
        output: torch.Tensor = self.norm(a + F.dropout(self.outer(F.gelu(self.inner(a))), rate))
        return output


class SasrecObjective:
    """Predict each interaction of the training part from those before it in its window.

    ::

        L = mean over (h_t, i_{t+1}) of the loss of predicting i_{t+1} from x = h_t      (`windows.next_item_loss`)

    One pass of the transformer serves all predictions of a window (`Windows`).

    Parameters
    ----------
    train : training part of the histories.
    settings : loss, learning rate, weight decay (l2), windows a batch.

    Raises
    ------
    InputError : as `Windows.of`.
    """

    phase = "training"

    def __init__(
        self, train: TrainingHistories, dimension: int, settings: SasrecSettings, device: torch.device
    ) -> None:
        self.epochs, self.patience = settings.epochs, settings.patience
        self.windows = Windows.of(train, settings, "sasrec")
        self.network = Sasrec(train.item_count, dimension, settings).to(device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.l2, fused=True
        )

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield windows (`Windows.batches`)."""
        return self.windows.batches(random)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the predictions of a batch."""
        return next_item_loss(self.network(batch["items"])[batch["predicts"]], batch, self.network.items)

    def recommender(self) -> Sasrec:
        """Return the model."""
        return self.network
