from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsae_lib.tuning.calibration import Mix, _allocate, calibrated_lists, exposure_errors, mixed_lists
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import best_lists
from tests.tuned_world import FEATURES, planted_world

WORLD = planted_world()


def joined(candidates: list[list[int]], shares: list[float]) -> list[int]:
    length = len(candidates[0])
    lists = np.full((1, length), -1, dtype=np.int64)
    _allocate(np.array([candidates]), np.array([shares]), lists)
    return lists[0].tolist()


def test_places_are_shared_out_in_proportion() -> None:
    # Quotients: .6, .3, .3 (.6/2), .2, .15, .1 and so on; the first of equal ones.
    assert joined([[1, 2, 3, 4], [11, 12, 13, 14], [21, 22, 23, 24]], [0.6, 0.3, 0.1]) == [1, 2, 11, 3]


def test_an_item_of_two_lists_stands_once() -> None:
    assert joined([[1, 2, 3], [1, 2, 4], [1, 2, 3]], [0.5, 0.5, 0.0]) == [1, 2, 3]


def test_a_list_that_ends_leaves_its_places_to_others() -> None:
    assert joined([[1, -1, -1], [11, 12, -1], [31, 32, 33]], [0.9, 0.1, 0.0]) == [1, 11, 12]
    assert joined([[1, -1, -1], [-1, -1, -1], [31, 32, 33]], [0.9, 0.1, 0.0]) == [1, 31, 32]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=5), st.integers(1, 8))
def test_allocation_agrees_with_plain_highest_averages(votes: list[int], length: int) -> None:
    """Disjoint lists: the seats of d'Hondt's method, counted from the sorted quotients."""
    candidates = [[100 * party + place for place in range(length)] for party in range(len(votes))]
    found = [item // 100 for item in joined(candidates, [float(vote) for vote in votes])]
    quotients = sorted(
        ((-vote / (1 + seat), party, seat) for party, vote in enumerate(votes) if vote for seat in range(length))
    )
    plain = [party for _, party, _ in quotients[:length]]
    expected = plain or [len(votes) - 1] * length
    assert sorted(found) == sorted(expected)


def test_without_strength_the_list_is_the_untuned_one() -> None:
    mix = Mix(np.array([0, 2]), np.array([0.5, 0.2]))
    wanted = mix.wanted(WORLD.test, WORLD.catalogue.carried)
    lists = mixed_lists(WORLD.recommender, WORLD.test, wanted, WORLD.decoder[[0, 2]], 0.0)
    assert lists.tolist() == best_lists(WORLD.recommender, WORLD.test, WORLD.test.x).tolist()


def test_a_planted_mix_is_reached() -> None:
    mix = Mix(np.array([2, 6]), np.array([0.6, 0.4]))
    wanted = mix.wanted(WORLD.test, WORLD.catalogue.carried)
    lists = mixed_lists(WORLD.recommender, WORLD.test, wanted, WORLD.decoder[[2, 6]], 50.0)
    for place, share in zip(mix.places, (0.6, 0.4), strict=True):
        assert WORLD.catalogue.carriers(int(place))[lists].mean() == pytest.approx(share, abs=0.02)
    of_items = WORLD.catalogue.carried[:, mix.places]
    assert exposure_errors(lists, wanted, of_items).mean() < 0.03


def test_a_history_says_what_is_wanted() -> None:
    carried = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]))
    users = Users(np.zeros((3, 2), np.float32), np.zeros(3, int), np.array([0, 3, 4, 4]), np.array([0, 1, 2, 3]))
    found = Mix(np.array([0, 2]), None).wanted(users, carried)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [0, 0], [0, 0]])


def test_greedy_re_ranking_agrees_with_a_plain_one() -> None:
    random = np.random.default_rng(6)
    of_items = sparse.csr_matrix((random.random((30, 4)) < 0.4).astype(float))
    candidates = np.stack([random.permutation(30)[:12] for _ in range(5)])
    scores = -np.sort(-random.random((5, 12)), axis=1)
    wanted = random.dirichlet(np.ones(4), 5)
    found = calibrated_lists(candidates, scores, wanted, of_items, strength=0.7, length=4)
    dense = of_items.toarray()
    dense /= np.maximum(dense.sum(1, keepdims=True), 1)
    for user in range(5):
        chosen: list[int] = []
        for _ in range(4):

            def worth(place: int, chosen: list[int] = chosen, user: int = user) -> float:
                q = dense[candidates[user, [*chosen, place]]].mean(0)
                p = wanted[user]
                return float(scores[user, place] - 0.7 * np.sum(p * np.log(p / (0.99 * q + 0.01 * p))))

            left = [place for place in range(12) if place not in chosen]
            chosen.append(max(left, key=worth))
        assert found[user].tolist() == candidates[user, chosen].tolist()


def test_exposure_error_by_hand() -> None:
    of_items = sparse.csr_matrix(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))
    wanted = np.array([[0.5, 0.0], [0.2, 0.4], [0.0, 0.0]])
    found = exposure_errors(np.array([[0, 1], [2, -1], [0, 1]]), wanted, of_items)
    np.testing.assert_allclose(found, [0.5, (0.2 + 0.4) / 2, 0.0])


def test_features_of_the_world_are_sorted() -> None:
    assert WORLD.catalogue.features == FEATURES
