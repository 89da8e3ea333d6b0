from __future__ import annotations

import numpy as np
import pytest

from recsae_lib.explorer import layout
from recsae_lib.explorer.layout import NEAREST, WIDTH, map_of, nearest, unit_rows_of


@pytest.mark.parametrize("block", [3, 1024])
@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_the_nearest_are_those_of_all_pairs(count: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK", block)
    rows = unit_rows_of(np.random.default_rng(count).standard_normal((count, 8)))
    places, cosines = nearest(rows)
    assert places.shape == cosines.shape == (count, min(NEAREST, count - 1))
    for row in range(count):
        others = sorted((-float(rows[row] @ rows[other]), other) for other in range(count) if other != row)
        assert [other for _, other in others[:NEAREST]] == places[row].tolist()
        assert cosines[row] == pytest.approx([-far for far, _ in others[:NEAREST]], abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 9, 60])
def test_a_map_is_the_same_twice_and_lies_in_its_frame(count: int) -> None:
    rows = unit_rows_of(np.random.default_rng(7).standard_normal((count, 6)))
    how, positions = map_of(rows, 2026)
    assert how == ("t-SNE" if count >= 10 else "PCA")
    assert positions.shape == (count, 2)
    assert ((positions >= 0) & (positions <= WIDTH)).all()
    assert np.array_equal(map_of(rows, 2026)[1], positions)


def test_groups_of_like_rows_stand_together() -> None:
    random = np.random.default_rng(3)
    centres = np.repeat(np.eye(4, 16) * 5, 10, axis=0)
    for rows in (unit_rows_of(centres + random.standard_normal(centres.shape) * 0.1),):
        _, positions = map_of(rows, 1)
        groups = positions.reshape(4, 10, 2).astype(float)
        spread = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=2).max()
        middles = groups.mean(axis=1)
        apart = min(np.linalg.norm(one - other) for i, one in enumerate(middles) for other in middles[:i])
        assert spread < apart / 2
