from __future__ import annotations

import numpy as np
import pytest
import torch

from recsae_lib.sae.training.grid import ACTIVE, USERS_OF_LATENT, automatic_grid, effective_rank


def test_rank_is_the_number_of_directions_that_vary() -> None:
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(20_000, 6)))
    assert effective_rank(rows) == pytest.approx(6, abs=0.01)
    assert effective_rank(rows @ torch.diag(torch.tensor([1.0, 1.0, 1.0, 0, 0, 0]).double())) == pytest.approx(
        3, abs=0.01
    )
    assert effective_rank(100 + 0.001 * rows) == pytest.approx(6, abs=0.01)
    # Variances 3 and 1: shares 3/4 and 1/4.
    two = rows[:, :2] * torch.tensor([3.0, 1.0]).sqrt()
    assert effective_rank(two) == pytest.approx(4 / 3**0.75, abs=0.01)
    assert effective_rank(torch.ones(5, 3)) == 1.0


@pytest.mark.parametrize("users", [10, 943, 2_999, 30_000, 10_000_000])
def test_latents_fire_for_enough_users(users: int) -> None:
    grid = automatic_grid(users, 64, 30.0)
    sizes = {(entry.k, entry.expansion_factor) for entry in grid}
    assert {k for k, _ in sizes} == set(ACTIVE)
    for k, factor in sizes:
        assert k is not None
        assert factor is not None
        assert factor == 1 or users * k / (64 * factor) >= USERS_OF_LATENT
    assert len(grid) == 2 * len(sizes)


def test_more_users_get_larger_dictionaries() -> None:
    largest = [max(entry.expansion_factor or 0 for entry in automatic_grid(n, 64, 30.0)) for n in (943, 30_000, 10**8)]
    assert largest == [1, 32, 64]


def test_few_directions_get_few_active_latents() -> None:
    assert {entry.k for entry in automatic_grid(30_000, 64, 9.0)} == {2, 4}
    assert {entry.k for entry in automatic_grid(30_000, 8, 1.0)} == {2}
