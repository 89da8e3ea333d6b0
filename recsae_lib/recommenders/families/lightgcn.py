"""LightGCN: user and item vectors averaged over the interaction graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from recsae_lib.config import LightgcnSettings
from recsae_lib.recommenders.families.bpr_mf import BprMf, sampled_interactions
from recsae_lib.recommenders.families.negatives import Negatives, bpr_loss
from recsae_lib.recommenders.training_histories import TrainingHistories

INITIAL_DEVIATION = 0.1


class LightGcn(BprMf):
    """Light graph convolution (He et al., arXiv 2002.02126), after training: the propagated vectors.

    ::

        x       = P[u]              the mean over layers of the user's vector (`propagate`), x ∈ R^d
        score_i = x · Q[i]          Q likewise

    Inference needs no graph. It knows only the users it was trained on.
    """

    kind = "lightgcn"


class Graph:
    """The bipartite graph of the training part: Â = D^(−1/2) A D^(−1/2), in 16 bytes an interaction.

    A is kept as two binary matrices of compressed sparse rows, users × items and items × users, and the degrees beside
    them; a repeated interaction is one edge.

    Parameters
    ----------
    train : training part of the histories.
    device : where the matrices lie.
    """

    def __init__(self, train: TrainingHistories, device: torch.device) -> None:
        keys = np.repeat(np.arange(len(train), dtype=np.int64), train.lengths) * train.item_count + train.items
        keys = np.unique(keys)
        users, items = keys // train.item_count, (keys % train.item_count).astype(np.int32)
        by_item = np.argsort(items, kind="stable")
        self.of_users = _binary(users, items, (len(train), train.item_count), device)
        self.of_items = _binary(items[by_item], users[by_item].astype(np.int32), (train.item_count, len(train)), device)
        self.user_scale = _inverse_root(np.bincount(users, minlength=len(train)), device)
        self.item_scale = _inverse_root(np.bincount(items, minlength=train.item_count), device)

    def step(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Â (users, items): one layer of propagation."""
        return (
            self.user_scale * (self.of_users @ (self.item_scale * items)),
            self.item_scale * (self.of_items @ (self.user_scale * users)),
        )


class Propagation(torch.autograd.Function):
    """E = 1/(K+1) Σ_{k=0…K} Â^k E⁰ for users and items; Â is symmetric, so its own gradient, and nothing is kept."""

    @staticmethod
    def forward(
        context: Any, users: torch.Tensor, items: torch.Tensor, graph: Graph, layers: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `propagate` of the same arguments."""
        context.graph, context.layers = graph, layers
        return propagate(users, items, graph, layers)

    @staticmethod
    def backward(
        context: Any, users: torch.Tensor, items: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        """Return the gradients of both inputs."""
        return *propagate(users, items, context.graph, context.layers), None, None


def propagate(users: torch.Tensor, items: torch.Tensor, graph: Graph, layers: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Average the vectors over 0 to `layers` steps on the graph.

    Parameters
    ----------
    users, items : E⁰, (users, d) and (n, d).

    Returns
    -------
    (users, items) : E, of the same shapes.
    """
    total_users, total_items = users.clone(), items.clone()
    for _ in range(layers):
        users, items = graph.step(users, items)
        total_users += users
        total_items += items
    return total_users.div_(layers + 1), total_items.div_(layers + 1)


class LightGcnObjective:
    """Rank what a user interacted with before what they did not, by the propagated vectors.

    ::

        L = mean over (u, i, j) of −ln σ(P[u] · Q[i] − P[u] · Q[j]) + λ/2 (‖P⁰[u]‖² + ‖Q⁰[i]‖² + ‖Q⁰[j]‖²)

    (u, i) is an interaction of the training part, j a sampled negative, λ the setting l2. Each step propagates over
    the whole graph, so that batches are larger than BPR-MF's.

    Parameters
    ----------
    train : training part of the histories.
    settings : layers, learning rate, l2, interactions a batch.

    Raises
    ------
    InputError : there is nothing to train on.
    """

    phase = "training"

    def __init__(
        self, train: TrainingHistories, dimension: int, settings: LightgcnSettings, device: torch.device
    ) -> None:
        self.train, self.settings = train, settings
        self.epochs, self.patience = settings.epochs, settings.patience
        self.negatives = Negatives(train)
        self.graph = Graph(train, device)
        self.network = _Vectors(len(train), train.item_count, dimension).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, fused=True)

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the interactions in random order: ``users``, ``items``, ``negatives``, each (batch,)."""
        return sampled_interactions(self.train, self.negatives, self.settings.batch_size, random)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the interactions of a batch."""
        P, Q = Propagation.apply(self.network.users, self.network.items, self.graph, self.settings.layers)
        users, items, negatives = batch["users"], batch["items"], batch["negatives"]
        x = P[users]
        rows = (self.network.users[users], self.network.items[items], self.network.items[negatives])
        norms = torch.stack([initial.square().sum(1).mean() for initial in rows]).sum()
        return bpr_loss((x * Q[items]).sum(1), (x * Q[negatives]).sum(1)) + self.settings.l2 / 2 * norms

    @torch.no_grad()
    def recommender(self) -> LightGcn:
        """Propagate the vectors as they are now."""
        tables = propagate(self.network.users, self.network.items, self.graph, self.settings.layers)
        users, items = (torch.nn.Parameter(table, requires_grad=False) for table in tables)
        with torch.device("meta"):
            model = LightGcn(len(users), len(items), users.shape[1])
        model.users.weight, model.items.weight = users, items
        return model


class _Vectors(torch.nn.Module):
    """E⁰: what is trained."""

    def __init__(self, user_count: int, item_count: int, dimension: int) -> None:
        super().__init__()
        self.users = torch.nn.Parameter(INITIAL_DEVIATION * torch.randn(user_count, dimension))
        self.items = torch.nn.Parameter(INITIAL_DEVIATION * torch.randn(item_count, dimension))


def _binary(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """Compressed sparse rows of ones, of sorted `rows`."""
    offsets = np.searchsorted(rows, np.arange(shape[0] + 1)).astype(np.int32)
    ones = torch.ones(len(rows))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", module=__name__)  # a beta notice, and one on checks
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(offsets), torch.from_numpy(columns), ones, shape, check_invariants=True
        )
    return matrix.to(device)


def _inverse_root(degrees: np.ndarray, device: torch.device) -> torch.Tensor:
    """1/√degree, (nodes, 1); 0 for a node without edges."""
    scale = np.divide(1.0, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0)
    return torch.from_numpy(scale.astype(np.float32)).unsqueeze(1).to(device)
