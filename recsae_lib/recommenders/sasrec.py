"""SASRec: a causal transformer that reads a user's latest interactions and predicts the next one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.config import SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.negatives import Negatives, bpr_loss
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.training_histories import TrainingHistories

INITIAL_DEVIATION = 0.02
MOST_SCORES = 2**31  # of a batch in the cross entropy: 8 GiB, and as much again for the gradient


class Sasrec(torch.nn.Module):
    """Self-attentive sequential recommender (Kang and McAuley, arXiv 1808.09781); normalisation after each sublayer.

    ::

        h_t  = Dropout(LayerNorm(E[i_t] + P_t))                       t = 1 … T: the latest T ≤ L interactions
        a_t  = LayerNorm(h_t + Dropout(W_o Attention(h)_t + b_o))     causal: t attends to 1 … t
        h_t  ← LayerNorm(a_t + Dropout(W_2 GELU(W_1 a_t + b_1) + b_2))          in each block
        x    = h_T after the last block                               x ∈ R^d
        score_i = x · E[i]

    E reads items and scores them. A user is what their history says: any user can be represented.

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
    reads_user_index = False
    sites: tuple[str, ...] = ("last",)

    def __init__(self, item_count: int, dimension: int, settings: SasrecSettings) -> None:
        super().__init__()
        if dimension % settings.heads:
            raise InputError(
                f"{settings.heads} attention heads do not divide {dimension} dimensions",
                "Set recommender.sasrec.heads to a divisor of recommender.dimension",
            )
        self.item_count, self.dimension, self.settings = item_count, dimension, settings
        self.history_length: int | None = settings.history_length
        self.items = torch.nn.Embedding(item_count, dimension)
        self.positions = torch.nn.Embedding(settings.history_length, dimension)
        self.norm = torch.nn.LayerNorm(dimension)
        self.blocks = torch.nn.ModuleList(_Block(dimension, settings) for _ in range(settings.layers))
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=INITIAL_DEVIATION)
            elif name.endswith("bias"):
                torch.nn.init.zeros_(parameter)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Return h after the last block, (batch, T, d), of (batch, T) item indices, oldest first."""
        h = self.norm(self.items(items) + self.positions.weight[: items.shape[1]])
        h = F.dropout(h, self.settings.dropout, self.training)
        for block in self.blocks:
            h = block(h)
        return h

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        """Take the latest L items of each user: ``items`` (batch, T ≤ L), oldest first, and ``last`` (batch,), the
        position of the latest one; what follows it is padding, which it does not attend to.

        Raises
        ------
        InputError : a history holds no item.
        """
        lengths = np.minimum(np.diff(histories.offsets), self.settings.history_length)
        if len(lengths) and lengths.min() < 1:
            raise InputError("A history holds no item", "Leave out users without one")
        items = _padded(histories.items, histories.offsets[1:] - lengths, lengths)
        return {"items": torch.from_numpy(items), "last": torch.from_numpy(lengths - 1)}

    @torch.no_grad()
    def represent(self, inputs: dict[str, torch.Tensor], site: str = "last") -> torch.Tensor:
        """Return x: the output at the latest interaction, (batch, d)."""
        self.eval()
        h = self(inputs["items"])
        last: torch.Tensor = h[torch.arange(len(h), device=h.device), inputs["last"]]
        return last

    @torch.no_grad()
    def score(self, representations: torch.Tensor) -> torch.Tensor:
        """Return x · E[i] for every item, (batch, n)."""
        return representations @ self.items.weight.T

    def item_embeddings(self) -> torch.Tensor:
        """Return E, (n, d)."""
        return self.items.weight.detach()


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

        cross_entropy : L = mean over (h_t, i_{t+1}) of −ln softmax(E h_t)[i_{t+1}]
        bpr           : L = mean over (h_t, i_{t+1}, j) of −ln σ(h_t · E[i_{t+1}] − h_t · E[j]),   j a sampled negative

    Histories are cut into windows of up to L predicted interactions, anew in every epoch (`cut_windows`): one pass of
    the transformer serves all of a window's predictions.

    Parameters
    ----------
    train : training part of the histories.
    settings : loss, learning rate, weight decay (l2), windows a batch.

    Raises
    ------
    InputError : no user has two training interactions, or the scores of a batch would take more than `MOST_SCORES`.
    """

    def __init__(
        self, train: TrainingHistories, dimension: int, settings: SasrecSettings, device: torch.device
    ) -> None:
        if len(train) == 0 or train.lengths.max() < 2:
            raise InputError(
                "There is nothing to train on: no user has two interactions besides the dev and test item",
                "Ingest longer histories, or set recommender.kind to bpr_mf",
            )
        scores = settings.batch_size * settings.history_length * train.item_count
        if settings.loss == "cross_entropy" and scores > MOST_SCORES:
            raise InputError(
                f"The cross entropy of a batch over {train.item_count:,} items takes {4 * scores / 2**30:.0f} GiB",
                "Set a smaller recommender.sasrec.batch_size, or recommender.sasrec.loss to bpr",
            )
        self.train, self.settings = train, settings
        self.model = Sasrec(train.item_count, dimension, settings).to(device)
        self.negatives = Negatives(train) if settings.loss == "bpr" else None
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.l2, fused=True
        )

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the windows in random order: ``items`` read, whether a position is ``real`` or padding, and the
        ``targets`` (and ``negatives``) of the real positions.
        """
        users, starts, lengths = cut_windows(self.train, self.settings.history_length, random)
        order = random.permutation(len(starts))
        for begin in range(0, len(order), self.settings.batch_size):
            taken = order[begin : begin + self.settings.batch_size]
            window = _padded(self.train.items, starts[taken], lengths[taken] + 1)
            real = np.arange(window.shape[1] - 1) < lengths[taken, None]
            batch = {"items": window[:, :-1], "real": real, "targets": window[:, 1:][real]}
            if self.negatives is not None:
                batch["negatives"] = self.negatives.draw(np.repeat(users[taken], lengths[taken]), random)
            yield {name: torch.from_numpy(values) for name, values in batch.items()}

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the real positions of a batch."""
        h = self.model(batch["items"])[batch["real"]]
        if self.negatives is None:
            return F.cross_entropy(h @ self.model.items.weight.T, batch["targets"])
        positive, negative = self.model.items(batch["targets"]), self.model.items(batch["negatives"])
        return bpr_loss((h * positive).sum(1), (h * negative).sum(1))


def cut_windows(
    train: TrainingHistories, longest: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the predicted interactions of each user (all but the first) into runs of `longest`, from a random phase on.

    Every interaction is predicted once; where the first run ends, 1 to `longest` interactions on, is drawn for each
    user.

    Returns
    -------
    (users, starts, lengths) : (windows,) each. A window of length n reads ``items[start:start + n]`` and predicts
        ``items[start + 1:start + n + 1]``.
    """
    users = np.flatnonzero(train.lengths >= 2)
    predicted = train.lengths[users] - 1
    phases = random.integers(0, longest, len(users))
    counts = -(-(predicted + phases) // longest)
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    users, predicted, phases = (np.repeat(values, counts) for values in (users, predicted, phases))
    begins = np.maximum(numbers * longest - phases, 0)
    ends = np.minimum((numbers + 1) * longest - phases, predicted)
    return users, train.offsets[users] + begins, ends - begins


def _padded(items: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows ``items[start:start + length]``, (rows, longest) int64; behind its end a row repeats its last item."""
    steps = np.minimum(np.arange(lengths.max(initial=1)), lengths[:, None] - 1)
    return items[starts[:, None] + steps].astype(np.int64, copy=False)
