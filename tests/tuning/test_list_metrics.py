from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recsae_lib.tuning.catalogue import catalogue_of
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.list_metrics import ListMeter
from recsae_lib.tuning.lists import gains, overlaps

# 6 items; the first two make 80 of 100 interactions. Item 5 has no feature.
POPULARITY = np.array([50, 30, 10, 5, 4, 1])
PAIRS = {
    False: (np.array([0, 2, 1, 3, 4, 4]), pa.array(["a", "a", "b", "b", "b", "b"])),  # a pair that stands twice
    True: (np.array([0, 1]), pa.array(["old", "old"])),
}
CATALOGUE = catalogue_of(POPULARITY, PAIRS, minimum_items=2)
USERS = Users(np.zeros((3, 2), np.float32), np.array([2, 4, 5]), np.array([0, 1, 2, 4]), np.array([0, 5, 4, 5]))
BEFORE = np.array([[1, 2], [0, 1], [0, -1]])
AFTER = np.array([[2, 3], [0, 4], [0, -1]])


def meter() -> ListMeter:
    return ListMeter(USERS, BEFORE, CATALOGUE, CATALOGUE.carriers(0), 0, seed=1)


def test_the_tail_is_outside_the_first_80_percent() -> None:
    assert CATALOGUE.in_tail.tolist() == [False, False, True, True, True, True]


def test_metrics_of_lists_by_hand() -> None:
    found = {name: figure.value for name, figure in meter().measure(AFTER).items()}
    at_second = 1 / np.log2(3)
    expected = {
        "overlap@10": (1 / 2 + 1 / 2 + 1) / 3,
        "ndcg@10": (1 + at_second + 0) / 3,
        "ndcg@10_kept": (1 + at_second) / at_second,
        "ndcg@10_long_tail": (1 + at_second + 0) / 3,  # all three targets are in the tail
        "ndcg@10_niche": (at_second + 0) / 2,  # the first user had seen the most popular item
        "ndcg@10_mainstream": 1.0,
        "average_popularity": ((10 + 5) / 2 + (50 + 4) / 2 + 50) / 3,
        "long_tail_share": (1 + 1 / 2 + 0) / 3,
        "catalogue_coverage": 4 / 6,
        "long_tail_coverage": 3 / 4,
        "gini": (-5 * 0 - 3 * 0 - 1 * 1 + 1 * 1 + 3 * 1 + 5 * 2) / (6 * 5),
        "feature_share": (1 / 2 + 1 / 2 + 1) / 3,
        "feature_share_change": (0 + 0 + 0) / 3,
        "other_features_moved": abs(2 / 5 - 2 / 5),  # b: items 1 and 1 of five places, then 3 and 4
    }
    assert found == pytest.approx(expected)


def test_a_change_of_share_is_paired_by_user() -> None:
    figure = meter().measure(np.array([[2, 0], [2, 1], [2, -1]]))["feature_share_change"]
    assert figure.value == pytest.approx((1 / 2 + 0 + 0) / 3)
    unchanged = meter().measure(BEFORE)["feature_share_change"]
    assert (unchanged.value, unchanged.low, unchanged.high) == (0.0, 0.0, 0.0)


def test_the_interval_is_that_of_a_mean() -> None:
    random = np.random.default_rng(3)
    users = 400
    lists = np.where(random.random((users, 1)) < 0.3, 0, 5)
    many = Users(np.zeros((users, 2), np.float32), np.zeros(users, int), np.zeros(users + 1, int), np.empty(0, int))
    figure = ListMeter(many, lists, CATALOGUE, CATALOGUE.carriers(0), 0, seed=2).measure(lists)["feature_share"]
    error = 1.96 * np.sqrt(figure.value * (1 - figure.value) / users)
    assert figure.high - figure.value == pytest.approx(error, rel=0.15)


def test_lists_without_items_are_no_fault() -> None:
    empty = np.full((3, 2), -1)
    found = ListMeter(USERS, empty, CATALOGUE, None, None, seed=1).measure(empty)
    assert found["overlap@10"].value == 1.0
    assert found["average_popularity"].value == 0.0
    assert np.isnan(found["ndcg@10_kept"].value)


def test_overlap_and_gain_of_single_lists() -> None:
    assert overlaps(np.array([[3, 1]]), np.array([[1, 2]])).tolist() == [0.5]
    assert gains(np.array([[7, 8, 9]]), np.array([9])).tolist() == [0.5]
