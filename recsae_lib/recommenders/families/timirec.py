"""TiMiRec: several interests a user, and a predictor of which of them the next item will belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.config import TimirecSettings
from recsae_lib.recommenders.families.dot_scored import SequenceModel, at_last
from recsae_lib.recommenders.families.windows import Windows, next_item_loss
from recsae_lib.recommenders.training_histories import TrainingHistories

INITIAL_DEVIATION = 0.02


class Timirec(SequenceModel):
    """Target-interest distillation for multi-interest recommendation (Wang et al., CIKM 2022).

    ::

        a_kt = w_k · tanh(W (E[i_t] + P_t))                t = 1 … T: the latest T ≤ L interactions, k = 1 … K
        v_k  = Σ_t softmax_t(a_k)_t E[i_t]                 the interests of the user
        q    = softmax_k(U GRU(E[i_1 … i_T])_T / τ)        which interest comes next
        x    = Σ_k q_k v_k                                 x ∈ R^d
        score_i = x · E[i]

    E reads items and scores them.

    Parameters
    ----------
    item_count : n; E is (n, d).
    dimension : d
    settings : its interests K, attention_size (W is (attention_size, d)), history_length L (P is (L, d)) and
        temperature τ belong to the weights; dropout and the losses say how they are trained.
    """

    kind = "timirec"
    architecture: tuple[str, ...] = ("interests", "attention_size", "history_length", "temperature")

    def __init__(self, item_count: int, dimension: int, settings: TimirecSettings) -> None:
        super().__init__()
        self.item_count, self.dimension, self.settings = item_count, dimension, settings
        self.history_length = settings.history_length
        self.items = torch.nn.Embedding(item_count, dimension)
        self.positions = torch.nn.Embedding(settings.history_length, dimension)
        self.attention_in = torch.nn.Linear(dimension, settings.attention_size, bias=False)
        self.attention_out = torch.nn.Linear(settings.attention_size, settings.interests, bias=False)
        self.predictor = torch.nn.GRU(dimension, dimension, batch_first=True)
        self.predicted = torch.nn.Linear(dimension, settings.interests)
        for table in (self.items, self.positions):
            torch.nn.init.normal_(table.weight, std=INITIAL_DEVIATION)

    @classmethod
    def from_description(cls, sizes: dict[str, int], settings: dict[str, Any]) -> Timirec:
        """Build what recommender.json describes; the weights are still to be loaded."""
        return cls(**sizes, settings=TimirecSettings.model_validate(settings, strict=True))

    def interests(self, items: torch.Tensor) -> torch.Tensor:
        """Return v after each position, (batch, T, K, d), of (batch, T) item indices, oldest first."""
        rows = self._dropped(self.items(items))
        length = items.shape[1]
        logits = self.attention_out(torch.tanh(self.attention_in(rows + self.positions.weight[:length])))
        later = torch.ones(length, length, dtype=torch.bool, device=items.device).triu(1)
        # (batch, K, T, T): the softmax after position t runs over the positions 1 … t.
        weights = logits.transpose(1, 2).unsqueeze(2).masked_fill(later, -torch.inf).softmax(3)
        batch, interests = len(items), self.settings.interests
        v = torch.bmm(weights.reshape(batch, interests * length, length), rows)
        return v.view(batch, interests, length, self.dimension).transpose(1, 2)

    def predict(self, items: torch.Tensor) -> torch.Tensor:
        """Return ln q after each position, (batch, T, K)."""
        hidden, _ = self.predictor(self._dropped(self.items(items)))
        return F.log_softmax(self.predicted(hidden) / self.settings.temperature, dim=2)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Return x after each position, (batch, T, d)."""
        return torch.einsum("btk,btkd->btd", self.predict(items).exp(), self.interests(items))

    def _dropped(self, rows: torch.Tensor) -> torch.Tensor:
        return F.dropout(rows, self.settings.dropout, self.training)


class _NearestInterest:
    """A recommender by the interests alone: score_i = max_k v_k · E[i]; how pre-training is evaluated."""

    def __init__(self, model: Timirec) -> None:
        self.model, self.build_inputs = model, model.build_inputs

    @torch.no_grad()
    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return v after the latest interaction, (batch, K · d)."""
        self.model.eval()
        return at_last(self.model.interests(inputs["items"]), inputs["last"]).flatten(1)

    @torch.no_grad()
    def score(self, representations: torch.Tensor) -> torch.Tensor:
        best, *others = representations.unflatten(1, (-1, self.model.dimension)).unbind(1)
        scores = self.model.score(best)
        for v in others:
            torch.maximum(scores, self.model.score(v), out=scores)
        return scores


class Pretraining:
    """First phase: the interest that is nearest to the next item has to predict it.

    ::

        L = next-item loss of v_{k*},   k* = argmax_k v_k · E[i_{t+1}]

    Parameters
    ----------
    model : is trained; the predictor is not touched.
    train : training part of the histories.
    settings : loss, learning rate, weight decay (l2), windows a batch, epochs.

    Raises
    ------
    InputError : as `Windows.of`.
    """

    phase = "pre-training"

    def __init__(self, model: Timirec, train: TrainingHistories, settings: TimirecSettings) -> None:
        self.network, self.settings = model, settings
        self.epochs, self.patience = settings.epochs, settings.patience
        self.windows = Windows.of(train, settings, "timirec")
        self.optimiser = _adam(model, settings)

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield windows (`Windows.batches`)."""
        return self.windows.batches(random)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the predictions of a batch."""
        v = self.network.interests(batch["items"])[batch["predicts"]]
        nearest = _closeness(v, self.network.items(batch["targets"])).argmax(1)
        return next_item_loss(v[torch.arange(len(v), device=v.device), nearest], batch, self.network.items)

    def recommender(self) -> _NearestInterest:
        """Return what is evaluated on the dev items."""
        return _NearestInterest(self.network)


class FineTuning(Pretraining):
    """Second phase: the predictor learns which interest the next item will be nearest to, and x has to predict it.

    ::

        p = softmax_k(v_k · E[i_{t+1}] / τ), detached
        L = next-item loss of x + τ² KL(p ‖ q)
    """

    phase = "fine-tuning"

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the predictions of a batch."""
        temperature = self.settings.temperature
        v = self.network.interests(batch["items"])[batch["predicts"]]
        log_q = self.network.predict(batch["items"])[batch["predicts"]]
        p = F.softmax(_closeness(v, self.network.items(batch["targets"])).detach() / temperature, dim=1)
        x = torch.einsum("nk,nkd->nd", log_q.exp(), v)
        distillation = F.kl_div(log_q, p, reduction="batchmean")
        return next_item_loss(x, batch, self.network.items) + temperature**2 * distillation

    def recommender(self) -> Timirec:  # type: ignore[override]  # pre-training is evaluated by another
        """Return the model."""
        return self.network


def _closeness(v: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """v_k · E[target], (predictions, K)."""
    return torch.einsum("nkd,nd->nk", v, targets)


def _adam(model: Timirec, settings: TimirecSettings) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.l2, fused=True)
