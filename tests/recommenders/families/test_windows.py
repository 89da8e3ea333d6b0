from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.config import SasrecSettings, TimirecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families import windows
from recsae_lib.recommenders.families.windows import Candidates, Windows, cut_runs, next_item_loss
from tests.histories import all_for_training


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=6), st.integers(1, 7), st.integers(0, 1000))
def test_windows_predict_every_interaction_but_the_first_once(lengths: list[int], longest: int, seed: int) -> None:
    offsets = np.cumsum([0, *lengths])
    train = all_for_training([list(range(a, b)) for a, b in pairwise(offsets.tolist())], max(int(offsets[-1]), 1))
    users, starts, counts = cut_runs(train, longest, np.random.default_rng(seed))
    assert len(counts) == 0 or 1 <= counts.min() <= counts.max() <= longest
    predicted = [start + step for start, count in zip(starts, counts, strict=True) for step in range(1, count + 1)]
    first = set(offsets[:-1].tolist())
    assert sorted(predicted) == [position for position in range(offsets[-1]) if position not in first]
    assert (offsets[users] <= starts).all()
    assert (starts + counts < offsets[users + 1]).all()


def test_where_windows_begin_is_drawn_anew() -> None:
    train = all_for_training([list(range(100))], 100)
    phases = {int(cut_runs(train, 5, np.random.default_rng(seed))[2][0]) for seed in range(100)}
    assert phases == {1, 2, 3, 4, 5}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=6), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
def test_a_window_reads_what_comes_before_its_targets(
    lengths: list[int], longest: int, predicted: int, seed: int
) -> None:
    offsets = np.cumsum([0, *lengths])
    train = all_for_training([list(range(a, b)) for a, b in pairwise(offsets.tolist())], max(int(offsets[-1]), 1))
    made = Windows(train, longest, min(predicted, longest), batch_size=3)
    targets = []
    for batch in made.batches(np.random.default_rng(seed)):
        found = iter(batch["targets"].tolist())
        for items, predicts in zip(batch["items"].tolist(), batch["predicts"].tolist(), strict=True):
            first_of_user = max(offset for offset in offsets.tolist() if offset <= items[0])
            positions = np.flatnonzero(predicts).tolist()
            run = [next(found) for _ in positions]
            for position, target in zip(positions, run, strict=True):
                assert items[: position + 1] == list(range(items[0], target))
            assert items[0] == max(first_of_user, run[-1] - longest)
            targets += run
    first = set(offsets[:-1].tolist())
    assert sorted(targets) == [position for position in range(offsets[-1]) if position not in first]


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        Windows.of(all_for_training([[1], [2], []], 3), SasrecSettings(), "sasrec")


def test_a_cross_entropy_that_fits_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_SCORES", 4 * 5 * 30 - 1)
    train = all_for_training([[1, 2, 3]], 30)
    few = TimirecSettings(history_length=6, batch_size=4)
    with pytest.raises(InputError, match=r"smaller recommender\.timirec\.batch_size"):
        Windows.of(train, few, "timirec")
    with pytest.raises(InputError, match="smaller recommender"):  # as many candidates as items are all of them
        Windows.of(train, few.model_copy(update={"loss": "sampled_softmax", "candidates": 30}), "timirec")
    assert Windows.of(train, few.model_copy(update={"loss": "sampled_softmax", "candidates": 29}), "timirec").candidates
    assert Windows.of(train, few.model_copy(update={"loss": "bpr"}), "timirec").negatives is not None


def test_sampled_softmax_is_cross_entropy_on_average() -> None:
    torch.manual_seed(0)
    items, x, targets = torch.nn.Embedding(50, 4), torch.randn(3, 4), torch.tensor([7, 0, 49])
    drawn, expected = torch.tensor([7, 3, 3, 20]), torch.tensor([0.1, 0.2, 0.2, 0.5])
    found = next_item_loss(x, {"targets": targets, "candidates": drawn, "expected": expected}, items)
    weights = np.exp((x @ items.weight.T).detach().double().numpy())
    losses = []
    for row, target in zip(weights, targets.tolist(), strict=True):
        pairs = zip(drawn.tolist(), expected.tolist(), strict=True)
        rest = sum(row[candidate] / often for candidate, often in pairs if candidate != target)
        losses.append(-np.log(row[target] / (row[target] + rest)))
    assert float(found.detach()) == pytest.approx(np.mean(losses), rel=1e-5)
    full = next_item_loss(x, {"targets": targets}, items)
    train = all_for_training([[0, 0, 0, 7, 7, 30]], 50)
    candidates, often = map(torch.from_numpy, Candidates(train, 50_000).draw(np.random.default_rng(0)))
    many = next_item_loss(x, {"targets": targets, "candidates": candidates, "expected": often}, items)
    assert float(many.detach()) == pytest.approx(float(full.detach()), rel=0.01)


def test_candidates_are_drawn_as_often_as_expected() -> None:
    drawer = Candidates(all_for_training([[0, 0, 0, 1], [3, 3]], 5), 100_000)
    drawn, expected = drawer.draw(np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=5)
    np.testing.assert_allclose(counts / 100_000, [0.35, 0.1 + 1 / 12, 0.1, 0.1 + 1 / 6, 0.1], atol=0.005)
    np.testing.assert_allclose(expected, (100_000 * np.array([0.35, 0.1 + 1 / 12, 0.1, 0.1 + 1 / 6, 0.1]))[drawn])
