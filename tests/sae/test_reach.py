from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsae_lib.sae.reach import Reach, first_rows

ROWS = torch.tensor([[1.0, 0.0]] * 5 + [[3.0, 0.0]] * 5 + [[2.0, 1.0], [2.0, -900.0]])


def test_a_reach_is_measured_by_medians() -> None:
    reach = Reach.of(ROWS)
    assert reach.centre.tolist() == [2.0, 0.0]
    assert reach.radius == 4.0  # ten of the twelve rows are at a distance of 1
    assert reach.distances(ROWS).tolist() == [0.25] * 11 + [225.0]


@pytest.mark.parametrize("rows", [ROWS, ROWS.numpy()], ids=["torch", "numpy"])
def test_a_row_beyond_reach_is_moved_to_its_edge(rows: torch.Tensor | np.ndarray) -> None:
    clipped = Reach.of(ROWS).clip(rows)
    assert clipped[-1].tolist() == [2.0, -4.0]
    assert clipped[:-1].tolist() == ROWS[:-1].tolist()
    assert rows[-1].tolist() == [2.0, -900.0]  # what was given stays


def test_ordinary_rows_are_not_even_copied() -> None:
    x = torch.randn(5000, 32, generator=torch.Generator().manual_seed(0))
    reach = Reach.of(x[:1024])
    assert reach.clip(x) is x
    heavy = x * torch.empty(5000, 1).exponential_(generator=torch.Generator().manual_seed(1))
    assert (Reach.of(heavy[:1024]).distances(heavy) > 1).float().mean() < 1e-3


def test_numbers_that_overflow_lie_beyond_reach() -> None:
    clipped = Reach.of(ROWS).clip(torch.tensor([[1e30, -1e30], [3.0, 0.0]]))
    assert clipped.tolist() == [[2.0, 0.0], [3.0, 0.0]]


@pytest.mark.parametrize("sample", [torch.ones(9, 4), torch.empty(0, 4)])
def test_rows_that_are_all_alike_have_no_reach(sample: torch.Tensor) -> None:
    assert Reach.of(sample).radius == math.inf


@pytest.mark.parametrize("count", [0, 1, 3, 4, 100])
def test_looking_at_the_first_rows_loses_none(count: int) -> None:
    x = torch.arange(20.0).reshape(10, 2)
    sample, stream = first_rows(iter(x.split(3)), count, 2)
    assert sample.tolist() == x[:count].tolist()
    assert torch.cat(list(stream)).tolist() == x.tolist()
