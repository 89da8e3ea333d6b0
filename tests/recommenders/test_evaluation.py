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
    catalogue_scorer,
    held_out_ranks,
    list_metrics,
    measure_test,
    ndcg,
    popularity_scorer,
    ranking_metrics,
    repeated_target_share,
    target_ranks,
)
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.training_histories import HeldOut
from tests.histories import all_for_training, histories_of

NO_RANK = 2**63 - 1


def plain_ranks(scores: np.ndarray, targets: list[int], seen: list[list[int]]) -> list[int]:
    """Rank of each target by sorting: unseen items by falling score, the target behind its ties; or none."""
    ranks = []
    for row, target, known in zip(scores, targets, seen, strict=True):
        if target in known:
            ranks.append(NO_RANK)
            continue
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


def test_a_target_seen_before_is_in_no_list() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
    ranks = target_ranks(scores, np.array([0, 0]), np.array([0, 3, 4]), np.array([0, 0, 2, 2]))
    assert ranks.tolist() == [NO_RANK, 1]
    assert repeated_target_share(ranks) == 0.5
    assert set(ranking_metrics(ranks).values()) == {0.5}


def test_repeats_are_missed_by_model_and_baselines_alike() -> None:
    """Half of the users end with the item that they began with, which all scorers know best; the others with a new one.

    Of 40 items, item 0 is everybody's first: for the 20 who come back to it no list holds it, though popularity and
    item-kNN would put it first if they ranked it among unseen items.
    """
    back = [[0, 1, 2 + user % 3, 5, 0] for user in range(20)]
    on = [[0, 1, 2 + user % 3, 5, 2 + (user + 1) % 3] for user in range(20)]
    histories = histories_of(back + on, item_count=40)
    users = histories.held_out_users("test", 100, seed=0)
    model = BprMf(40, 40, 4)
    metrics = measure_test(model, histories, users, torch.device("cpu"))
    assert metrics["test_repeated_target_share"] == 0.5
    alone = measure_test(model, histories, np.arange(20, 40), torch.device("cpu"))
    assert alone["test_repeated_target_share"] == 0.0
    assert alone["popularity_hr@5"] == 1.0
    for name in (f"{kind}_{metric}@10" for kind in ("test", "popularity", "item_knn") for metric in ("hr", "ndcg")):
        assert metrics[name] == pytest.approx(alone[name] / 2)  # those of the new items, divided by all users
    assert metrics["popularity_p_value@10"] == pytest.approx(alone["popularity_p_value@10"])


def test_metrics_have_their_literal_values() -> None:
    metrics = ranking_metrics(torch.tensor([1, 3, 10, 51]))
    assert list(metrics) == [f"{name}@{cutoff}" for name in ("hr", "ndcg") for cutoff in CUTOFFS]
    assert [metrics[f"hr@{cutoff}"] for cutoff in CUTOFFS] == [0.5, 0.75, 0.75, 0.75]
    assert metrics["ndcg@5"] == pytest.approx((1 + 1 / 2) / 4)
    assert metrics["ndcg@50"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 4)
    assert ndcg(torch.tensor([2]), 1) == 0.0


def test_the_last_item_is_test_and_the_one_before_it_dev() -> None:
    histories = histories_of([[4, 1, 2, 3], [0], [2, 2, 5], [3, 0]], item_count=6)
    train = histories.training_part()
    assert train.offsets.tolist() == [0, 2, 3, 4, 6]
    assert train.items.tolist() == [4, 1, 0, 2, 3, 0]
    assert histories.held_out_users("test", 10, seed=0).tolist() == [0, 2]
    asked: list[list[list[int]]] = []

    def score(contexts: Histories) -> torch.Tensor:
        asked.append(
            [contexts.items[a:b].tolist() for a, b in zip(contexts.offsets[:-1], contexts.offsets[1:], strict=True)]
        )
        return torch.arange(6.0).expand(len(contexts), -1)

    users = np.array([0, 2])
    assert held_out_ranks(score, histories, users, "test").tolist() == [2, 1]  # 5 before 3; 5 is the best
    assert held_out_ranks(score, histories, users, "dev").tolist() == [3, NO_RANK]  # 5, 3 before 2; 2 again
    assert asked == [[[4, 1, 2], [2, 2]], [[4, 1], [2]]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), max_size=7), min_size=1, max_size=8), st.sampled_from(["dev", "test"]))
def test_popularity_is_ranked_as_in_plain_python(users: list[list[int]], held_out: HeldOut) -> None:
    long = [number for number, user in enumerate(users) if len(user) >= 3]
    histories = histories_of(users, item_count=9)
    if not long:
        with pytest.raises(InputError, match=f"No user has a {held_out} item"):
            histories.held_out_users(held_out, 10, seed=0)
        return
    counts = np.zeros(9)
    for user in users:
        for item in user[:-2] if len(user) >= 3 else user:
            counts[item] += 1
    place = -1 if held_out == "test" else -2
    targets = [users[number][place] for number in long]
    seen = [users[number][:place] for number in long]
    ranks = held_out_ranks(popularity_scorer(histories.training_part()), histories, np.array(long), held_out)
    assert ranks.tolist() == plain_ranks(np.tile(counts, (len(long), 1)), targets, seen)


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    histories = histories_of([random.integers(0, 50, 9).tolist() for _ in range(23)], item_count=50)
    users, score = np.arange(23), popularity_scorer(histories.training_part())
    whole = held_out_ranks(score, histories, users, "test")
    monkeypatch.setattr(evaluation, "BLOCK_SCORES", 4 * 50)
    assert torch.equal(held_out_ranks(score, histories, users, "test"), whole)


def test_the_draw_of_users_follows_the_seed() -> None:
    histories = histories_of([[0, 1, 2]] * 50 + [[0, 1]] * 50, item_count=3)
    drawn = histories.held_out_users("dev", 10, seed=1)
    assert len(set(drawn.tolist())) == 10
    assert drawn.max() < 50
    assert drawn.tolist() == sorted(drawn.tolist()) == histories.held_out_users("dev", 10, seed=1).tolist()
    assert drawn.tolist() != histories.held_out_users("dev", 10, seed=2).tolist()


def test_list_metrics_have_their_literal_values() -> None:
    train = all_for_training([[0, 0, 1], [0, 2]], item_count=4)  # interactions of the items: 3, 1, 1, 0
    found = list_metrics(np.array([3, 0, 0, 1]), train)
    assert found["catalogue_coverage@10"] == 0.5
    assert found["average_popularity@10"] == pytest.approx((3 * 3 + 0) / 4)
    # Mean absolute difference of all pairs over twice the mean: the other definition of Gini's index.
    counts = np.array([3, 0, 0, 1])
    assert found["gini@10"] == pytest.approx(np.abs(counts[:, None] - counts).mean() / (2 * counts.mean()))
    assert list_metrics(np.array([2, 2, 2, 2]), train)["gini@10"] == 0.0


def test_every_baseline_is_measured_beside_the_model() -> None:
    random = np.random.default_rng(0)
    histories = histories_of([random.integers(0, 30, 6).tolist() for _ in range(20)], item_count=30)
    users = histories.held_out_users("test", 100, seed=0)
    model = BprMf(20, 30, 4)
    metrics = measure_test(model, histories, users, torch.device("cpu"))
    names = [*ranking_metrics(torch.tensor([1])), "catalogue_coverage@10", "average_popularity@10", "gini@10"]
    of_each = [f"{kind}_{n}" for kind in ("test", "popularity", "item_knn") for n in names]
    assert sorted(metrics) == sorted([*of_each, "popularity_p_value@10", "test_repeated_target_share"])
    scores = (model.users.weight @ model.items.weight.T).detach().numpy()
    contexts = histories.contexts(users, "test")
    seen = [contexts.items[a:b].tolist() for a, b in zip(contexts.offsets[:-1], contexts.offsets[1:], strict=True)]
    ranks = plain_ranks(scores, histories.targets(users, "test").tolist(), seen)
    assert metrics["test_hr@10"] == np.mean(np.array(ranks) <= 10)
    lists = [
        sorted(set(range(30)) - set(known), key=lambda i: -row[i])[:10] for row, known in zip(scores, seen, strict=True)
    ]
    assert metrics["test_catalogue_coverage@10"] == len({item for items in lists for item in items}) / 30


def test_items_that_a_model_does_not_know_are_missed_not_left_out() -> None:
    histories = histories_of([[0, 1, 2, 3], [4, 4, 4, 0], [0, 1, 2, 4]], item_count=5)
    known = np.array([True, False, True, True, False])  # 0, 2 and 3 are items 0, 1 and 2 of the model
    asked: list[list[int]] = []

    def score(contexts: Histories) -> torch.Tensor:
        asked.extend(
            contexts.items[a:b].tolist() for a, b in zip(contexts.offsets[:-1], contexts.offsets[1:], strict=True)
        )
        assert contexts.user_indices.tolist() == [0, 2]
        return torch.tensor([[0.0, 1.0, 2.0]]).expand(len(contexts), -1)

    users = np.arange(3)
    whole = catalogue_scorer(score, 20, known)
    assert held_out_ranks(whole, histories, users, "test").tolist() == [1, 4, 2]  # behind all unseen ones: 0 and 4
    assert asked == [[0, 1], [0, 1]]  # the second user has no item that the model reads
    assert whole(histories.contexts(users, "test"))[1].tolist() == [-math.inf] * 5
    test = measure_test(BprMf(3, 3, 4), histories, users, torch.device("cpu"), known)
    assert test["test_catalogue_coverage@10"] == 0.6  # of five items; a model that reads no items serves all users


def test_popularity_that_no_draw_would_rank_so_badly_has_a_small_p() -> None:
    """Each user ends with an item that nobody else has: popularity hits none of 40, a draw of 10 of 60 items 6.7."""
    histories = histories_of([[0, 1, 2, 20 + user] for user in range(40)], item_count=60)
    users = histories.held_out_users("test", 100, seed=0)
    metrics = measure_test(BprMf(40, 60, 4), histories, users, torch.device("cpu"))
    assert metrics["popularity_hr@10"] == 0.0
    assert metrics["popularity_p_value@10"] == pytest.approx((5 / 6) ** 40)
