"""Cases: balanced, of the right users, the same on every run, and drawn without favour."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.verification.cases import Cases, draw_cases
from recsae_lib.verification.term_judge import Sides


def draws_of(users: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, users)


def by_kind(cases: Cases) -> tuple[list[int], ...]:
    return tuple(cases.users[cases.kinds == kind].tolist() for kind in range(3))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), users=st.integers(0, 40), per_kind=st.integers(1, 12), firing=st.floats(0, 1))
def test_any_world_gives_balanced_cases_of_the_right_users(seed: int, users: int, per_kind: int, firing: float) -> None:
    random = np.random.default_rng(seed)
    fires = random.random(users) < firing
    negative = ~fires
    who = Sides(fires & (random.random(users) < 0.7), negative, negative & (random.random(users) < random.random()))
    positives, randoms, hards = by_kind(draw_cases(who, draws_of(users), 7, per_kind))
    everybody = [*positives, *randoms, *hards]
    assert len(everybody) == len(set(everybody))
    assert set(positives) <= set(np.flatnonzero(who.positive))
    assert set(randoms) <= set(np.flatnonzero(who.negative))
    assert set(hards) <= set(np.flatnonzero(who.hard))
    n = min(per_kind, who.positive.sum(), who.negative.sum())
    assert len(positives) == len(randoms) + len(hards) == n
    assert len(hards) == min(n // 2, who.hard.sum())  # random ones fill up


def test_enough_users_give_the_numbers_asked_for() -> None:
    positive = np.arange(400) < 100
    cases = draw_cases(Sides(positive, ~positive, np.arange(400) >= 300), draws_of(400), 3, 11)
    assert [len(users) for users in by_kind(cases)] == [11, 6, 5]  # of an odd number the random ones are one more
    assert cases.kinds.tolist() == [0] * 11 + [1] * 6 + [2] * 5


def test_one_who_comes_or_goes_changes_one_case() -> None:
    users, draws = 300, draws_of(300)
    positive = np.arange(users) % 3 == 0
    who = Sides(positive, ~positive, np.arange(users) % 3 == 1)
    drawn = {user: kind for kind, of_kind in enumerate(by_kind(draw_cases(who, draws, 5, 10))) for user in of_kind}
    for gone in range(users):
        left = np.delete(np.arange(users), gone)
        cases = draw_cases(who.of(left), draws[left], 5, 10)
        again = dict(zip(left[cases.users].tolist(), cases.kinds.tolist(), strict=True))
        assert len(drawn.items() - again.items()) <= 2  # a random one may become the hard one that is missing
        assert (drawn.keys() - again.keys()) <= {gone}
        if gone not in drawn:
            assert again == drawn


def test_the_order_of_users_changes_nothing_but_the_unit_does() -> None:
    draws, positive = draws_of(200), np.arange(200) < 80
    who, order = Sides(positive, ~positive, np.zeros(200, bool)), np.random.default_rng(3).permutation(200)
    first = set(draw_cases(who, draws, 4, 10).users.tolist())
    assert set(order[draw_cases(who.of(order), draws[order], 4, 10).users].tolist()) == first
    assert len(first & set(draw_cases(who, draws, 5, 10).users.tolist())) < 10


def test_the_draw_favours_nobody() -> None:
    users, units = 400, 600
    positive = np.arange(users) < 200
    who, draws = Sides(positive, ~positive, np.arange(users) >= 300), draws_of(users)
    times: Counter[int] = Counter()
    for unit in range(units):
        times.update(draw_cases(who, draws, unit, 10).users[:10].tolist())
    # 6,000 draws of 200 users: 30 each, standard deviation 5.3.
    assert np.std([times[user] for user in range(200)]) == pytest.approx(5.3, abs=1.2)
