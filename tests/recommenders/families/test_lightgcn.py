from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.config import LightgcnSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.lightgcn import Graph, LightGcnObjective, Propagation, propagate
from tests.histories import all_for_training

CPU = torch.device("cpu")
ITEMS = 6
USERS = [[1, 0, 1], [], [3, 1, 2]]  # a repeated item, a user and two items (4, 5) without an edge


def dense_propagation(users: list[list[int]], item_count: int, layers: int) -> np.ndarray:
    """Mean of the powers 0 to `layers` of the normalised adjacency of all nodes, as a dense matrix."""
    nodes = len(users) + item_count
    adjacency = np.zeros((nodes, nodes))
    for user, items in enumerate(users):
        for item in items:
            adjacency[user, len(users) + item] = adjacency[len(users) + item, user] = 1.0
    degrees = adjacency.sum(1)
    root = np.divide(1.0, np.sqrt(degrees), out=np.zeros(nodes), where=degrees > 0)
    normalised = root[:, None] * adjacency * root
    return sum(np.linalg.matrix_power(normalised, k) for k in range(layers + 1)) / (layers + 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=5), st.integers(1, 4))
def test_propagation_is_that_of_the_dense_matrix(users: list[list[int]], layers: int) -> None:
    initial = np.random.default_rng(0).normal(size=(len(users) + ITEMS, 3)).astype(np.float32)
    graph = Graph(all_for_training(users, ITEMS), CPU)
    found = propagate(torch.tensor(initial[: len(users)]), torch.tensor(initial[len(users) :]), graph, layers)
    expected = dense_propagation(users, ITEMS, layers) @ initial
    np.testing.assert_allclose(torch.cat(found).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_dense_matrix() -> None:
    torch.manual_seed(0)
    users, items = (torch.randn(rows, 2, requires_grad=True) for rows in (3, ITEMS))
    outward = torch.randn(3 + ITEMS, 2)
    found = torch.cat(Propagation.apply(users, items, Graph(all_for_training(USERS, ITEMS), CPU), 3))
    (found * outward).sum().backward()
    expected = dense_propagation(USERS, ITEMS, 3).T @ outward.numpy()
    np.testing.assert_allclose(torch.cat([users.grad, items.grad]).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_loss_is_literal_and_the_vectors_are_propagated() -> None:
    objective = LightGcnObjective(all_for_training(USERS, ITEMS), 2, LightgcnSettings(layers=2, l2=0.5), CPU)
    initial = np.concatenate([table.detach().numpy() for table in (objective.network.users, objective.network.items)])
    final = dense_propagation(USERS, ITEMS, 2) @ initial
    user, item, negative = initial[0], initial[3 + 1], initial[3 + 4]
    gap = final[0] @ (final[3 + 1] - final[3 + 4])
    norms = user @ user + item @ item + negative @ negative
    batch = {"users": torch.tensor([0]), "items": torch.tensor([1]), "negatives": torch.tensor([4])}
    assert float(objective.loss(batch).detach()) == pytest.approx(math.log1p(math.exp(-gap)) + 0.25 * norms, rel=1e-4)
    model = objective.recommender()
    assert model.kind == "lightgcn"
    np.testing.assert_allclose(model.users.weight.numpy(), final[:3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.item_embeddings().numpy(), final[3:], rtol=1e-4, atol=1e-6)


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        LightGcnObjective(all_for_training([[]], ITEMS), 2, LightgcnSettings(), CPU)
