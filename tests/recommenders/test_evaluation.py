from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.errors import InputError
from recsae_lib.recommenders import evaluation
from recsae_lib.recommenders.evaluation import (
    CUTOFFS,
    DEV,
    TEST,
    evaluated_users,
    held_out_ranks,
    ndcg,
    popularity_scorer,
    ranking_metrics,
    target_ranks,
    training_part,
)
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.training_histories import TrainingHistories


def histories_of(users: list[list[int]], item_count: int) -> TrainingHistories:
    offsets = np.cumsum([0, *map(len, users)])
    return TrainingHistories(offsets, np.array([item for user in users for item in user], dtype=np.int32), item_count)


def plain_ranks(scores: np.ndarray, targets: list[int], seen: list[list[int]]) -> list[int]:
    """Rank of each target by sorting: unseen items by falling score, the target behind its ties."""
    ranks = []
    for row, target, known in zip(scores, targets, seen, strict=True):
        others = [row[item] for item in range(len(row)) if item != target and item not in known]
        ranks.append(1 + sum(not score < row[target] for score in others))
    return ranks


@st.composite
def scored_targets(draw: st.DrawFn) -> tuple[np.ndarray, list[int], list[list[int]]]:
    """Few distinct scores, so that ties are the rule; targets may be among the seen items, which may repeat."""
    users, items = draw(st.integers(1, 5)), draw(st.integers(1, 30))
    values = draw(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = random.choice(np.array([*values, -np.inf], dtype=np.float32), size=(users, items))
    targets = random.integers(0, items, users).tolist()
    seen = [random.integers(0, items, random.integers(0, 12)).tolist() for _ in range(users)]
    return scores, targets, seen


@settings(max_examples=300, deadline=None)
@given(scored_targets())
def test_ranks_are_those_of_a_plain_count(case: tuple[np.ndarray, list[int], list[list[int]]]) -> None:
    scores, targets, seen = case
    offsets = np.cumsum([0, *map(len, seen)])
    flat = np.array([item for items in seen for item in items], dtype=np.int64)
    ranks = target_ranks(torch.tensor(scores), np.array(targets), offsets, flat)
    assert ranks.dtype == torch.int64
    assert ranks.tolist() == plain_ranks(scores, targets, seen)


def test_ties_and_nan_count_against_the_model() -> None:
    nan = math.nan
    scores = torch.tensor([[1.0, 1.0, 1.0, 0.0], [nan, 2.0, 1.0, 0.0], [nan, 2.0, 1.0, 0.0]])
    nothing_seen = np.zeros(4, dtype=np.int64)
    ranks = target_ranks(scores, np.array([0, 1, 0]), nothing_seen, np.array([], dtype=np.int64))
    assert ranks.tolist() == [3, 2, 4]


def test_a_repeated_target_is_not_masked_away() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    assert target_ranks(scores, np.array([2]), np.array([0, 3]), np.array([0, 2, 2])).tolist() == [2]


def test_metrics_have_their_literal_values() -> None:
    metrics = ranking_metrics(torch.tensor([1, 3, 10, 51]))
    assert list(metrics) == [f"{name}@{cutoff}" for name in ("hr", "ndcg") for cutoff in CUTOFFS]
    assert [metrics[f"hr@{cutoff}"] for cutoff in CUTOFFS] == [0.5, 0.75, 0.75, 0.75]
    assert metrics["ndcg@5"] == pytest.approx((1 + 1 / 2) / 4)
    assert metrics["ndcg@50"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 4)
    assert ndcg(torch.tensor([2]), 1) == 0.0


def test_the_last_item_is_test_and_the_one_before_it_dev() -> None:
    histories = histories_of([[4, 1, 2, 3], [0], [2, 2, 5], [3, 0]], item_count=6)
    train = training_part(histories)
    assert train.offsets.tolist() == [0, 2, 3, 4, 6]
    assert train.items.tolist() == [4, 1, 0, 2, 3, 0]
    assert evaluated_users(histories, 10, seed=0).tolist() == [0, 2]
    asked: list[list[list[int]]] = []

    def score(contexts: Histories) -> torch.Tensor:
        asked.append(
            [contexts.items[a:b].tolist() for a, b in zip(contexts.offsets[:-1], contexts.offsets[1:], strict=True)]
        )
        return torch.arange(6.0).expand(len(contexts), -1)

    users = np.array([0, 2])
    assert held_out_ranks(score, histories, users, TEST).tolist() == [2, 1]  # 5 before 3; 5 is the best
    assert held_out_ranks(score, histories, users, DEV).tolist() == [3, 4]  # 5, 3 before 2; a repeated 2 is ranked
    assert asked == [[[4, 1, 2], [2, 2]], [[4, 1], [2]]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), max_size=7), min_size=1, max_size=8), st.sampled_from([DEV, TEST]))
def test_popularity_is_ranked_as_in_plain_python(users: list[list[int]], held_out: int) -> None:
    long = [number for number, user in enumerate(users) if len(user) >= 3]
    histories = histories_of(users, item_count=9)
    if not long:
        with pytest.raises(InputError, match="No user has 3 interactions or more"):
            evaluated_users(histories, 10, seed=0)
        return
    counts = np.zeros(9)
    for user in users:
        for item in user[:-2] if len(user) >= 3 else user:
            counts[item] += 1
    targets = [users[number][-held_out] for number in long]
    seen = [users[number][:-held_out] for number in long]
    ranks = held_out_ranks(popularity_scorer(training_part(histories)), histories, np.array(long), held_out)
    assert ranks.tolist() == plain_ranks(np.tile(counts, (len(long), 1)), targets, seen)


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    histories = histories_of([random.integers(0, 50, 9).tolist() for _ in range(23)], item_count=50)
    users, score = np.arange(23), popularity_scorer(training_part(histories))
    whole = held_out_ranks(score, histories, users, TEST)
    monkeypatch.setattr(evaluation, "BLOCK_SCORES", 4 * 50)
    assert torch.equal(held_out_ranks(score, histories, users, TEST), whole)


def test_the_draw_of_users_follows_the_seed() -> None:
    histories = histories_of([[0, 1, 2]] * 50 + [[0, 1]] * 50, item_count=3)
    drawn = evaluated_users(histories, 10, seed=1)
    assert len(set(drawn.tolist())) == 10
    assert drawn.max() < 50
    assert drawn.tolist() == sorted(drawn.tolist()) == evaluated_users(histories, 10, seed=1).tolist()
    assert drawn.tolist() != evaluated_users(histories, 10, seed=2).tolist()
