from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsae_lib.config import BprMfSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.bpr_mf import BprMf, BprMfObjective
from recsae_lib.recommenders.protocol import Histories
from tests.histories import all_for_training

CPU = torch.device("cpu")
TRAIN = all_for_training([[1, 0], [], [3, 1, 2]], item_count=6)


def of_users(*users: int) -> Histories:
    return Histories(np.array(users), np.zeros(len(users) + 1, dtype=np.int64), np.array([], dtype=np.int64))


def test_a_score_is_the_users_vector_times_the_items() -> None:
    model = BprMf(3, 6, 4)
    x = model.represent(model.build_inputs(of_users(2, 0, 2)))
    assert torch.equal(x, model.users.weight[[2, 0, 2]])
    assert not x.requires_grad
    expected = x.numpy() @ model.items.weight.detach().numpy().T
    np.testing.assert_allclose(model.score(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.item_embeddings(), model.items.weight)


@pytest.mark.parametrize("user", [-1, 3])
def test_an_unknown_user_is_refused(user: int) -> None:
    with pytest.raises(InputError, match="not known"):
        BprMf(3, 6, 4).build_inputs(of_users(0, user))


def test_an_epoch_is_every_interaction_once_with_a_negative() -> None:
    objective = BprMfObjective(TRAIN, 4, BprMfSettings(batch_size=2), CPU)
    batches = list(objective.batches(np.random.default_rng(0)))
    assert [len(batch["users"]) for batch in batches] == [2, 2, 1]
    pairs = [pair for b in batches for pair in zip(b["users"].tolist(), b["items"].tolist(), strict=True)]
    known = [(0, 1), (0, 0), (2, 3), (2, 1), (2, 2)]
    assert sorted(pairs) == sorted(known)
    negatives = [pair for b in batches for pair in zip(b["users"].tolist(), b["negatives"].tolist(), strict=True)]
    assert not set(negatives) & set(known)


def test_the_loss_is_literal_and_moves_only_rows_of_the_batch() -> None:
    objective = BprMfObjective(TRAIN, 2, BprMfSettings(l2=0.5), CPU)
    with torch.no_grad():
        objective.network.users.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]))
        objective.network.items.weight.zero_()
        objective.network.items.weight[1] = torch.tensor([3.0, 4.0])
    batch = {"users": torch.tensor([0]), "items": torch.tensor([1]), "negatives": torch.tensor([5])}
    loss = objective.loss(batch)
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-3.0)) + 0.25 * (1 + 25 + 0))
    before = [table.weight.detach().clone() for table in (objective.network.users, objective.network.items)]
    loss.backward()
    objective.optimiser.step()
    moved = [
        (table.weight != old).any(dim=1).nonzero().flatten().tolist()
        for table, old in zip((objective.network.users, objective.network.items), before, strict=True)
    ]
    assert moved == [[0], [1, 5]]


def test_nothing_to_train_on_is_refused() -> None:
    nothing = all_for_training([[]], item_count=6)
    with pytest.raises(InputError, match="nothing to train on"):
        BprMfObjective(nothing, 2, BprMfSettings(), CPU)
