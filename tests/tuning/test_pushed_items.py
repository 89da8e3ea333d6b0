"""Items pushed up and down most, held against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from recsae_lib.tuning.pushed_items import PUSHED, pushed_items

RANDOM = np.random.default_rng(6)


@pytest.mark.parametrize(("rows", "items"), [(3, 20_011), (64, 5000), (1, 41), (2, 40)])
def test_pushed_items_are_those_of_a_full_sort(rows: int, items: int) -> None:
    vectors = (RANDOM.standard_normal((items, 5)) + 3).astype(np.float32)
    directions, mean = RANDOM.standard_normal((rows, 5)), vectors.astype(np.float64).mean(0)
    found = pushed_items(directions, vectors, mean)
    assert found.ranks.tolist() == [*range(1, PUSHED + 1), *range(-PUSHED, 0)]
    for direction, items_of, effects_of in zip(directions, found.items, found.effects, strict=True):
        effects = (vectors.astype(np.float64) - mean) @ direction
        falling = np.argsort(-effects)
        assert items_of.tolist() == [*falling[:PUSHED], *falling[-PUSHED:]]
        assert effects_of == pytest.approx(effects[items_of])


def test_a_small_catalogue_is_halved() -> None:
    vectors = np.array([[1.0], [5.0], [3.0]], np.float32)
    found = pushed_items(np.array([[2.0], [-1.0]]), vectors, np.array([3.0]))
    assert found.ranks.tolist() == [1, 2, -1]
    assert found.items.tolist() == [[1, 2, 0], [0, 2, 1]]
    assert found.effects.tolist() == [[4.0, 0.0, -4.0], [2.0, 0.0, -2.0]]


def test_equal_effects_stand_by_item_index() -> None:
    found = pushed_items(np.ones((1, 1)), np.zeros((1000, 1), np.float32), np.zeros(1))
    assert found.items[0].tolist() == [n for n in range(PUSHED) for _ in range(2)]
