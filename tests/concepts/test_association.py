"""ROC-AUC by sparse rank sums against scikit-learn; features are named where there is a link, and not otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score

from recsae_lib.concepts.association import (
    FEWEST_USERS,
    PERMUTATIONS,
    Associations,
    associate,
    best_against_null,
    carried_by_top_items,
    centred_ranks,
    largest_auc,
    typical_features,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), users=st.integers(2, 40), density=st.floats(0.05, 1.0), levels=st.integers(1, 6))
def test_largest_auc_is_scikit_learns(seed: int, users: int, density: float, levels: int) -> None:
    random = np.random.default_rng(seed)
    z = np.where(random.random((users, 6)) < density, random.integers(1, levels + 1, (users, 6)), 0)
    y = random.random((users, 9)) < random.random(9)
    y = y[:, (y.sum(0) > 0) & (y.sum(0) < users)]
    allowed = random.random((6, y.shape[1])) < 0.8
    best, auc = largest_auc(*centred_ranks(sparse.csc_matrix(z)), sparse.csr_matrix(y.astype(float)), allowed)
    for unit in range(6):
        of_features = [roc_auc_score(y[:, f], z[:, unit]) if allowed[unit, f] else 0.0 for f in range(y.shape[1])]
        assert auc[unit] == pytest.approx(max([0.5, *of_features]))
        if max([0.5, *of_features]) > 0.5 + 1e-9:
            assert of_features[best[unit]] == pytest.approx(auc[unit])
            assert all(other < auc[unit] - 1e-9 for other in of_features[: best[unit]])  # equal ones: the first
        else:
            assert best[unit] == -1


def test_ranks_are_mid_ranks_above_the_silent_users() -> None:
    z = np.array([[1.0, 0.0, 3.0, 0.0], [2.0, 1.0, 0.0, 0.0], [2.0, 0.0, 1.0, 0.0]])
    ranks, silent = centred_ranks(sparse.csc_matrix(z))
    assert silent.tolist() == [0, 2, 1, 3]
    mid_rank_of_silent = (silent[:, None] + 1) / 2
    assert (ranks.toarray() + mid_rank_of_silent).tolist() == [[1, 2.5, 2.5], [1.5, 3, 1.5], [3, 1, 2], [2, 2, 2]]


def test_users_are_compared_with_all_users_together() -> None:
    # "a" is carried by 12 x 3 + 12 x 2 + 12 x 1 = 72 of 36 x 4 linked items: half. Two of four are not more than half.
    carried = sparse.csr_matrix(np.repeat([[3.0, 2.0], [2.0, 2.0], [1.0, 0.0]], 12, axis=0))
    typical, places = typical_features(carried, np.full(36, 4))
    assert places.tolist() == [0, 1]
    assert typical.toarray().T.tolist() == [[1.0] * 12 + [0.0] * 24, [1.0] * 24 + [0.0] * 12]


@pytest.mark.parametrize(("users", "kept"), [(FEWEST_USERS, True), (FEWEST_USERS - 1, False)])
def test_features_of_few_users_are_left_out(users: int, kept: bool) -> None:
    rare, common = np.arange(users + 30) < users, np.arange(users + 30) < 30
    carried = sparse.csr_matrix(np.stack([rare, common], axis=1).astype(float))
    typical, places = typical_features(carried, np.ones(users + 30))
    assert places.tolist() == ([0, 1] if kept else [])  # nor features that too few users lack
    assert typical.shape == (users + 30, 2 * kept)


def test_top_items_are_those_of_the_largest_evidence() -> None:
    # One user linked to items 0 to 29 and a stronger one to 25 to 34: the top 20 are 25-34, then 0-9 by place.
    linked = np.zeros((2, 40))
    linked[0, :30], linked[1, 25:35] = 1, 1
    activations = sparse.csc_matrix(np.array([[1.0, 0.0], [2.0, 0.0]]))
    counts = carried_by_top_items(activations, sparse.csr_matrix(linked), sparse.csr_matrix(np.eye(40)))
    assert np.flatnonzero(counts[0]).tolist() == [*range(10), *range(25, 35)]
    assert not counts[1].any()  # fires for nobody


def test_one_in_a_hundred_units_without_a_link_is_named() -> None:
    random = np.random.default_rng(4)
    users, units = 300, 1500
    z = np.where(random.random((users, units)) < 40 / 1500, random.exponential(size=(users, units)), 0)
    typical = sparse.csr_matrix((random.random((users, 12)) < 0.3).astype(float))
    ranks, silent = centred_ranks(sparse.csc_matrix(z))
    best, auc, null_auc, p_value = best_against_null(ranks, silent, typical, np.ones((units, 12), bool), seed=1)
    # 15 expected, standard error 4.
    assert 3 <= np.sum(best >= 0) <= 30
    assert np.mean(auc[best >= 0]) > np.mean(auc)
    assert np.array_equal(best >= 0, auc > null_auc)
    assert np.array_equal(best >= 0, p_value == 0.01)
    # Uniform on 0.01, 0.02, …, 1; nothing is below its level more often than that, but for four standard errors.
    for level in (0.01, 0.05, 0.1, 0.25, 0.5, 0.9):
        assert np.mean(p_value <= level) <= level + 4 * np.sqrt(level * (1 - level) / units)
    assert np.mean(p_value) == pytest.approx(0.505, abs=0.04)


def test_the_p_value_counts_the_permutations_that_reach_the_auc() -> None:
    # Unit 0 fires for exactly the users of feature 0, unit 1 for half of either: no feature is above 1/2.
    typical = sparse.csr_matrix(np.repeat([[1.0, 0.0], [0.0, 1.0]], 12, axis=0))
    z = np.array([[float(user < 12), float(user % 2 + 1)] for user in range(24)])
    everything = np.ones((2, 2), bool)
    best, auc, null_auc, p_value = best_against_null(*centred_ranks(sparse.csc_matrix(z)), typical, everything, seed=5)
    random, reached, largest = np.random.default_rng(5), np.zeros(2), np.zeros(2)
    for _ in range(PERMUTATIONS):
        shuffled = typical.toarray()[random.permutation(24)]
        by_chance = [max(0.5, *(roc_auc_score(shuffled[:, f], z[:, unit]) for f in (0, 1))) for unit in (0, 1)]
        reached += np.array(by_chance) >= [1.0, 0.5]
        largest = np.maximum(largest, by_chance)
    assert (best.tolist(), auc.tolist()) == ([0, -1], [1.0, 0.5])
    assert p_value.tolist() == ((1 + reached) / 100).tolist() == [0.01, 1.0]
    assert null_auc == pytest.approx(largest)


class World:
    """Unit 0 fires for the 40 of 120 users whose 10 linked items carry feature 1, and weakly for some others.

    Items 0-49 carry feature 1, items 50-149 feature 2; `rare` items of the first fifty also carry feature 0, and all
    of them are linked to users of unit 0 alone.
    """

    def __init__(self, rare: int) -> None:
        random = np.random.default_rng(2)
        liked = np.arange(120) < 40
        self.linked = np.zeros((120, 150))
        for user, likes in enumerate(liked):
            self.linked[user, random.choice(50, 10, replace=False) if likes else 50 + random.choice(100, 10, False)] = 1
        self.linked[:40, :rare] = 1
        self.features = np.zeros((150, 3))
        self.features[:rare, 0], self.features[:50, 1], self.features[50:, 2] = 1, 3, 1  # how often does not matter
        self.z = np.stack([np.where(liked, 1 + random.random(120), 0.0), random.random(120)], axis=1)

    def associate(self, fewest_items: int) -> Associations:
        return associate(
            sparse.csc_matrix(self.z), sparse.csr_matrix(self.linked), sparse.csr_matrix(self.features), fewest_items, 3
        )


@pytest.mark.parametrize(("rare", "best"), [(5, 0), (4, 1)])
def test_a_feature_of_four_items_is_never_the_best(rare: int, best: int) -> None:
    found = World(rare).associate(fewest_items=5)
    assert found.best.tolist() == [best, -1]  # equal AUCs: the first by name, where it has support
    assert found.auc[0] == 1.0
    assert found.p_value[0] == 0.01
    assert found.p_value[1] > 0.01


@pytest.mark.parametrize(("carried", "best"), [(2, 0), (1, 1)])
def test_the_best_feature_stands_in_two_top_items(carried: int, best: int) -> None:
    world = World(5)
    # The unit's users are typical of feature 0 by items that each of them has alone, but for `carried` of the top 20.
    world.linked = np.pad(world.linked, ((0, 0), (0, 40)))
    world.features = np.pad(world.features, ((0, 40), (0, 0)))
    world.linked[np.arange(40), 150 + np.arange(40)] = 1
    world.features[:, 0] = 0
    world.features[150:, 0] = 1
    world.linked[:40, :20] = 1
    world.features[:carried, 0] = 1
    world.features[50:150, 2] = 1
    assert world.associate(fewest_items=5).best[0] == best


def test_nothing_to_try_is_not_tested() -> None:
    found = World(5).associate(fewest_items=151)
    assert found.best.tolist() == [-1, -1]
    assert np.isnan(found.p_value).all()
