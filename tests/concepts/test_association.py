"""ROC-AUC by sparse rank sums against scikit-learn; features are named where there is a link, and not otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse
from sklearn.metrics import roc_auc_score

from recsae_lib.concepts.association import (
    FEWEST_USERS,
    PERMUTATIONS,
    best_against_null,
    best_feature_auc,
    centred_ranks,
    largest_auc,
    typical_features,
)
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.config import VerificationSettings

SALT = "s"
Fired = list[dict[int, float]]  # of user 0, 1, …: latent → activation


def as_lists(fired: Fired) -> tuple[pd.Series, pd.Series]:
    return (
        pd.Series([np.array(list(user), dtype=np.int32) for user in fired]),
        pd.Series([np.array(list(user.values()), dtype=np.float32) for user in fired]),
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), users=st.integers(2, 40), density=st.floats(0.05, 1.0), levels=st.integers(1, 6))
def test_largest_auc_is_scikit_learns(seed: int, users: int, density: float, levels: int) -> None:
    random = np.random.default_rng(seed)
    z = np.where(random.random((users, 6)) < density, random.integers(1, levels + 1, (users, 6)), 0)
    y = random.random((users, 9)) < random.random(9)
    y = y[:, (y.sum(0) > 0) & (y.sum(0) < users)]
    fired = [{latent: float(row[latent]) for latent in np.flatnonzero(row)} for row in z]
    latents, ranks, silent = centred_ranks(*as_lists(fired))
    assert latents.tolist() == np.flatnonzero(z.any(0)).tolist()
    best, auc = largest_auc(ranks, silent, sparse.csr_matrix(y.astype(float)))
    for latent, feature, value in zip(latents, best, auc, strict=True):
        of_features = [roc_auc_score(y[:, f], z[:, latent]) for f in range(y.shape[1])]
        assert value == pytest.approx(max([0.5, *of_features]))
        if max([0.5, *of_features]) > 0.5 + 1e-9:
            assert of_features[feature] == pytest.approx(value)
            assert all(other < value - 1e-9 for other in of_features[:feature])  # equal ones: the first
        else:
            assert feature == -1


def test_a_latent_that_fires_for_everybody_and_blocks_of_latents() -> None:
    fired = [{0: 1.0, 9: 3.0}, {0: 2.0, 1: 1.0}, {0: 2.0, 9: 1.0}]
    latents, ranks, silent = centred_ranks(*as_lists(fired))
    assert (latents.tolist(), silent.tolist()) == ([0, 1, 9], [0, 2, 1])
    mid_rank_of_silent = (silent[:, None] + 1) / 2
    assert (ranks.toarray() + mid_rank_of_silent).tolist() == [[1, 2.5, 2.5], [1.5, 3, 1.5], [3, 1, 2]]
    in_block, ranks_of_block, _ = centred_ranks(*as_lists(fired), blocks=8, block=1)
    assert in_block.tolist() == [1, 9]
    assert ranks_of_block.toarray().tolist() == ranks.toarray()[1:].tolist()


def test_users_are_compared_with_all_users_together() -> None:
    # "a" is carried by 12 x 3 + 12 x 2 + 12 x 1 = 72 of 36 x 4 linked items: half. Two of four are not more than half.
    features = pd.Series([list("aaabb")] * 12 + [list("abba")] * 12 + [["a"]] * 12)
    names, typical = typical_features(features, np.full(36, 4, dtype=np.int32))
    assert names.tolist() == ["a", "b"]
    assert typical.toarray().T.tolist() == [[1.0] * 12 + [0.0] * 24, [1.0] * 24 + [0.0] * 12]


@pytest.mark.parametrize(("users", "kept"), [(FEWEST_USERS, True), (FEWEST_USERS - 1, False)])
def test_features_of_few_users_are_left_out(users: int, kept: bool) -> None:
    features = pd.Series([["rare"]] * users + [[]] * 30)
    names, typical = typical_features(features, np.ones(users + 30, dtype=np.int32))
    assert names.tolist() == (["rare"] if kept else [])
    assert typical.shape == (users + 30, int(kept))


def test_one_in_a_hundred_latents_without_a_link_is_named() -> None:
    random = np.random.default_rng(4)
    users, latents = 300, 1500
    fired = [
        {int(latent): float(random.exponential()) for latent in random.choice(latents, 40, replace=False)}
        for _ in range(users)
    ]
    typical = sparse.csr_matrix((random.random((users, 12)) < 0.3).astype(float))
    _, ranks, silent = centred_ranks(*as_lists(fired))
    best, auc, null_auc, p_value = best_against_null(ranks, silent, typical, seed=1)
    # 15 expected, standard error 4.
    assert 3 <= np.sum(best >= 0) <= 30
    assert np.mean(auc[best >= 0]) > np.mean(auc)
    assert np.array_equal(best >= 0, auc > null_auc)
    assert np.array_equal(best >= 0, p_value == 0.01)
    # Uniform on 0.01, 0.02, …, 1; nothing is below its level more often than that, but for four standard errors.
    for level in (0.01, 0.05, 0.1, 0.25, 0.5, 0.9):
        assert np.mean(p_value <= level) <= level + 4 * np.sqrt(level * (1 - level) / latents)
    assert np.mean(p_value) == pytest.approx(0.505, abs=0.04)


def test_the_p_value_counts_the_permutations_that_reach_the_auc() -> None:
    # Latent 0 fires for exactly the users of feature 0, latent 1 for half of either: no feature is above 1/2.
    typical = sparse.csr_matrix(np.repeat([[1.0, 0.0], [0.0, 1.0]], 12, axis=0))
    fired: Fired = [{0: 1.0, 1: float(user % 2 + 1)} if user < 12 else {1: float(user % 2 + 1)} for user in range(24)]
    _, ranks, silent = centred_ranks(*as_lists(fired))
    best, auc, null_auc, p_value = best_against_null(ranks, silent, typical, seed=5)
    random, reached, largest = np.random.default_rng(5), np.zeros(2), np.zeros(2)
    z = np.array([[user.get(latent, 0.0) for latent in (0, 1)] for user in fired])
    for _ in range(PERMUTATIONS):
        shuffled = typical.toarray()[random.permutation(24)]
        by_chance = [max(0.5, *(roc_auc_score(shuffled[:, f], z[:, latent]) for f in (0, 1))) for latent in (0, 1)]
        reached += np.array(by_chance) >= [1.0, 0.5]
        largest = np.maximum(largest, by_chance)
    assert (best.tolist(), auc.tolist()) == ([0, -1], [1.0, 0.5])
    assert p_value.tolist() == ((1 + reached) / 100).tolist() == [0.01, 1.0]
    assert null_auc == pytest.approx(largest)


def world(spark: SparkSession, users: int = 240) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Latent 0 follows horror, 1 follows war (strongly for half of its users), 2 and 3 nothing."""
    random = np.random.default_rng(11)
    genres = ["horror", "war", "comedy", "drama"]
    items = [(f"{genre}{n}", [genre, genre, "film"]) for genre in genres for n in range(30)]
    activations, linked = [], []
    for user in range(users):
        likes = user % 4
        taken = [f"{genres[likes if random.random() < 0.6 else random.integers(4)]}{n}" for n in range(12)]
        fired = {latent: 1.0 + float(random.random()) for latent in (2, 3) if random.random() < 0.3}
        if likes < 2:
            fired[likes] = 1.0 + float(random.random())
        activations.append((f"u{user}", list(fired), list(fired.values())))
        if user % 20:
            linked.append((f"u{user}", [*taken, taken[0], "unknown"]))
    return (
        spark.createDataFrame(activations, "user_id string, latent_ids array<int>, activations array<float>"),
        spark.createDataFrame([*linked, ("stranger", ["horror1"])], "user_id string, item_ids array<string>"),
        spark.createDataFrame(items, "item_id string, features array<string>"),
    )


def expected_auc(world: tuple[DataFrame, DataFrame, DataFrame], latent: int, feature: str) -> float:
    activations, linked, items = world
    verify = ~in_construct_half(F.col("user_id"), SALT)
    fired = {row["user_id"]: dict(zip(*row[1:], strict=True)) for row in activations.where(verify).collect()}
    carriers = {row["item_id"] for row in items.collect() if feature in row["features"]}
    linked_of = {row["user_id"]: set(row["item_ids"]) for row in linked.collect() if row["user_id"] in fired}
    users = sorted(linked_of)
    of_all = sum(len(linked_of[u] & carriers) for u in users) / sum(len(linked_of[u]) for u in users)
    typical = [len(linked_of[user] & carriers) / len(linked_of[user]) > of_all for user in users]
    return float(roc_auc_score(typical, [fired[user].get(latent, 0.0) for user in users]))


def test_planted_features_are_found_on_the_verify_half(spark: SparkSession) -> None:
    frames = world(spark)
    found = best_feature_auc(*frames, VerificationSettings(), SALT, 3)
    assert found.dtypes == [
        ("latent_id", "int"),
        ("best_feature", "string"),
        *((f"best_feature_{name}", "double") for name in ("auc", "null_auc", "p_value")),
    ]
    rows = {row["latent_id"]: row for row in found.collect()}
    assert {latent: tuple(row)[1:3] for latent, row in rows.items()} == {
        0: ("horror", pytest.approx(expected_auc(frames, 0, "horror"))),
        1: ("war", pytest.approx(expected_auc(frames, 1, "war"))),
        2: (None, None),
        3: (None, None),
    }
    assert [rows[latent]["best_feature_p_value"] for latent in (0, 1)] == [0.01, 0.01]
    assert all(rows[latent]["best_feature_p_value"] > 0.01 for latent in (2, 3))
    assert all(0.5 < row["best_feature_null_auc"] < 0.8 for row in rows.values())


def test_partitions_and_order_are_irrelevant_users_are_bounded(spark: SparkSession) -> None:
    activations, linked, items = world(spark)
    few = VerificationSettings(association_users=70)
    first = best_feature_auc(activations, linked, items, few, SALT, 3).collect()
    shuffled = best_feature_auc(
        activations.repartition(5).orderBy(F.desc("user_id")), linked.repartition(3), items.repartition(7), few, SALT, 3
    ).collect()
    assert sorted(first) == sorted(shuffled)
    everybody = best_feature_auc(activations, linked, items, VerificationSettings(), SALT, 3).collect()
    assert sorted(first) != sorted(everybody)


def test_nothing_to_associate_gives_no_row(spark: SparkSession) -> None:
    activations, linked, items = world(spark, users=8)
    assert best_feature_auc(activations, linked, items, VerificationSettings(), SALT, 3).collect() == []
    assert best_feature_auc(activations.limit(0), linked, items, VerificationSettings(), SALT, 3).collect() == []
