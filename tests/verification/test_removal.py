"""Removal effect against lists that are worked out by hand, and against its own null."""

from __future__ import annotations

import numpy as np
import pytest

from recsae_lib.verification.removal import LIST_LENGTH, Moves, moves_of, removal_effects

ITEMS = np.eye(40, dtype=np.float32)  # item i is scored by coordinate i of x


def best_items(vectors: np.ndarray, users: np.ndarray) -> np.ndarray:
    assert len(vectors) == len(users)
    return np.argsort(-(vectors @ ITEMS.T), axis=1, kind="stable")[:, :LIST_LENGTH]


def test_moves_keep_the_error_and_the_length() -> None:
    x = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    others = np.array([[0.0, 2.0], [0.0, 0.5]])
    moves = moves_of(x, np.array([0, 2]), np.array([1.0, 2.0]), np.array([2.0, 0.0]), others, np.array([0.5, 1.0]))
    assert moves.own.tolist() == [[1.0, 4.0], [-4.0, 2.0]]
    assert moves.other.tolist() == [[3.0, 2.0], [0.0, -2.0]]  # as far as the own one: 2 and 4
    assert moves.equal.tolist() == [[2.5, 4.0], [-1.0, 2.0]]


def test_a_list_that_loses_its_items_by_hand() -> None:
    # Items 0 to 9 carry the name and stand in front; without the unit they fall behind the 30 others.
    x = np.where(np.arange(40) < 10, 5.0, 1.0 - np.arange(40) / 100).astype(np.float32)[None].repeat(24, axis=0)
    direction = np.where(np.arange(40) < 10, 1.0, 0.0)
    users = np.arange(24)
    others = np.where(np.arange(40) == 39, 1.0, 0.0)[None].repeat(24, axis=0)
    moves = moves_of(x, users, np.full(24, 6.0), direction, others, np.full(24, 0.001))
    (removal,) = removal_effects(
        best_items(x, users), [moves], lambda unit: (np.arange(40) < 10).astype(float), best_items, seed=1
    )
    assert removal.effect == 1.0  # 10 of 20 places before, none after
    assert removal.other == 0.0  # an item from the end of the list changes nothing
    assert removal.equal_dose == 0.0  # a thousandth moves nothing
    assert removal.users == 24
    assert removal.p_value == pytest.approx(1 / 1000)  # 24 gains alike: hardly a flip leaves all signs


def test_a_direction_like_any_other_is_not_causal() -> None:
    random = np.random.default_rng(4)
    p_values = []
    for _ in range(200):
        x = random.standard_normal((30, 40)).astype(np.float32)
        users = np.arange(30)
        moves = Moves(users, *(x - random.standard_normal((30, 40)) for _ in range(3)))
        carries = (random.random(40) < 0.3).astype(float)
        (removal,) = removal_effects(best_items(x, users), [moves], lambda unit, c=carries: c, best_items, seed=7)
        p_values.append(removal.p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert 0.4 <= np.mean(p_values) <= 0.6


def test_several_units_share_blocks_and_keep_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    x = random.standard_normal((50, 40)).astype(np.float32)
    moves, carriers = [], []
    for _ in range(6):
        users = np.sort(random.choice(50, 20, replace=False))
        own, others = random.standard_normal(40), random.standard_normal((20, 40))
        moves.append(moves_of(x, users, random.random(20), own, others, random.random(20)))
        carriers.append((random.random(40) < 0.4).astype(float))
    before = best_items(x, np.arange(50))

    def measured(units: list[int]) -> list[float]:
        found = removal_effects(before, [moves[u] for u in units], lambda u: carriers[units[u]], best_items, seed=1)
        return [removal.effect for removal in found]

    together = measured([0, 1, 2, 3, 4, 5])
    monkeypatch.setattr("recsae_lib.verification.removal.BLOCK_ROWS", 70)
    assert measured([0, 1, 2, 3, 4, 5]) == together
    assert [measured([unit])[0] for unit in range(6)] == together


def test_nothing_to_lose_is_not_measured() -> None:
    x = np.ones((3, 40), dtype=np.float32)
    nowhere = Moves(np.arange(3), x, x, x)
    (removal,) = removal_effects(best_items(x, np.arange(3)), [nowhere], lambda unit: np.zeros(40), best_items, 1)
    assert np.isnan(removal.effect)
    assert removal.users == 0
