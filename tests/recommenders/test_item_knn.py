from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from recsae_lib.recommenders import item_knn
from recsae_lib.recommenders.item_knn import item_knn_scorer
from recsae_lib.recommenders.protocol import Histories
from tests.histories import all_for_training

ITEMS = 40


def random_users(count: int = 60) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(0, ITEMS - 1, random.integers(0, 9)).tolist() for _ in range(count)]


def plain_scores(users: list[list[int]], contexts: list[list[int]], neighbours: int) -> np.ndarray:
    matrix = np.zeros((len(users), ITEMS))
    for user, items in enumerate(users):
        matrix[user, items] = 1.0
    similarity = cosine_similarity(matrix.T)
    np.fill_diagonal(similarity, 0.0)
    kept = np.zeros_like(similarity)
    for item in range(ITEMS):
        nearest = sorted(range(ITEMS), key=lambda other: (-similarity[item, other], other))[:neighbours]
        kept[item, nearest] = similarity[item, nearest]
    return np.array([[sum(kept[item, seen] for seen in context) for item in range(ITEMS)] for context in contexts])


@pytest.mark.parametrize("neighbours", [3, 100])
def test_scores_are_those_of_a_plain_computation(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_knn, "NEIGHBOURS", neighbours)
    monkeypatch.setattr(item_knn, "BLOCK_ITEMS", 7)
    users, contexts = random_users(), [[3, 8, 3], [], [39, 1]]
    flat = np.array([item for context in contexts for item in context], dtype=np.int64)
    batch = Histories(np.arange(3), np.cumsum([0, *map(len, contexts)]), flat)
    found = item_knn_scorer(all_for_training(users, ITEMS))(batch).numpy()
    np.testing.assert_allclose(found, plain_scores(users, contexts, neighbours), rtol=1e-5, atol=1e-6)


def test_more_pairs_than_can_be_counted_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    users = random_users()
    monkeypatch.setattr(item_knn, "MOST_PAIRS", 300)
    sampled = item_knn._sampled(all_for_training(users, ITEMS))
    assert 0 < (sampled.lengths**2).sum() <= 300
    kept = [sampled.items[a:b].tolist() for a, b in zip(sampled.offsets[:-1], sampled.offsets[1:], strict=True)]
    assert all(found in ([], user) for found, user in zip(kept, users, strict=True))
