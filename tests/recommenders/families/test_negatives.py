from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsae_lib.recommenders.families.negatives import Negatives, bpr_loss
from tests.histories import all_for_training

USERS = [[0, 1, 2], [5, 5, 0], [0, 1, 2, 3, 4, 5]]


@pytest.fixture
def negatives() -> Negatives:
    return Negatives(all_for_training(USERS, item_count=6))


def test_negatives_are_the_unknown_items_each_as_likely(negatives: Negatives) -> None:
    drawn = negatives.draw(np.repeat([0, 1], 6000), np.random.default_rng(0))
    of_first, of_second = (np.bincount(part, minlength=6) for part in np.split(drawn, 2))
    assert of_first[:3].tolist() == [0, 0, 0]
    assert of_second[[0, 5]].tolist() == [0, 0]
    assert abs(of_first[3:] - 2000).max() < 150  # four standard deviations
    assert abs(of_second[1:5] - 1500).max() < 150


def test_a_user_who_knows_everything_gets_an_item_all_the_same(negatives: Negatives) -> None:
    drawn = negatives.draw(np.full(100, 2), np.random.default_rng(0))
    assert set(drawn.tolist()) <= set(range(6))


def test_draws_follow_the_generator(negatives: Negatives) -> None:
    users = np.array([0, 1, 2, 0])
    first, second = (negatives.draw(users, np.random.default_rng(5)) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_bpr_loss_has_its_literal_value() -> None:
    loss = bpr_loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, math.log(3)]))
    assert float(loss) == pytest.approx((math.log(2) + math.log(4)) / 2)
