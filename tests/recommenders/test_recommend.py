from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.recommend import recommend_batches
from recsae_lib.recommenders.top_items import top_items


def brute_force(scores: np.ndarray, seen: list[set[int]], top_n: int) -> tuple[list[list[int]], list[list[float]]]:
    """Best unseen items of each row by a full sort: falling score, then rising index."""
    indices = [
        [item for item in np.lexsort((np.arange(len(row)), -row)) if item not in seen[user]][:top_n]
        for user, row in enumerate(scores)
    ]
    return indices, [[float(scores[user, item]) for item in items] for user, items in enumerate(indices)]


def found(indices: np.ndarray, scores: np.ndarray) -> tuple[list[list[int]], list[list[float]]]:
    there = scores > -np.inf
    return (
        [row[on].tolist() for row, on in zip(indices, there, strict=True)],
        [row[on].tolist() for row, on in zip(scores, there, strict=True)],
    )


@st.composite
def scored_users(draw: st.DrawFn) -> tuple[np.ndarray, list[set[int]], int]:
    """Scores from a small set of values, so that ties are the rule, and items seen; up to eight groups wide."""
    users, items = draw(st.integers(1, 4)), draw(st.integers(1, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6))
    scores = random.choice(np.array([*values, -0.0, 0.0], dtype=np.float32), size=(users, items))
    seen_share = draw(st.sampled_from([0.0, 0.1, 0.95, 1.0]))
    seen = [set(np.flatnonzero(random.random(items) < seen_share).tolist()) for _ in range(users)]
    return scores, seen, draw(st.integers(1, 40))


def in_parts(scores: np.ndarray, width: int) -> Iterator[np.ndarray]:
    for begin in range(0, scores.shape[1], width):
        yield scores[:, begin : begin + width].copy()


@settings(max_examples=200, deadline=None)
@given(scored_users(), st.integers(1, 300))
def test_top_items_are_those_of_a_full_sort(case: tuple[np.ndarray, list[set[int]], int], width: int) -> None:
    scores, seen, top_n = case
    offsets = np.cumsum([0, *map(len, seen)])
    seen_items = np.array([item for items in seen for item in items], dtype=np.int64)
    result = top_items(in_parts(scores, width), offsets, seen_items, top_n)
    assert found(*result) == brute_force(scores, seen, top_n)


def test_top_items_of_a_large_catalogue_are_those_of_a_full_sort() -> None:
    random = np.random.default_rng(3)
    scores = random.standard_normal((8, 20_011)).astype(np.float32).round(2)  # ties by rounding, a short last group
    seen = [set(random.integers(0, 20_011, 500).tolist()) for _ in range(8)]
    offsets = np.cumsum([0, *map(len, seen)])
    seen_items = np.array([item for items in seen for item in items])
    for top_n in (1, 20, 1000):
        result = top_items(in_parts(scores, 4096), offsets, seen_items, top_n)
        assert found(*result) == brute_force(scores, seen, top_n)


@pytest.mark.parametrize("place", [0, 63, 73, 99])
def test_a_score_that_is_nan_is_refused(place: int) -> None:
    scores = np.zeros((2, 100), np.float32)
    scores[1, place] = np.nan
    with pytest.raises(InputError, match="NaN"):
        top_items([scores], np.array([0, 0, 0]), np.array([], dtype=np.int64), 5)


@dataclass
class TasteModel:
    """Scores item i by how near it is to the user's last item: -|i - last|."""

    item_count: int
    dot_scored = False

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        return {"last": torch.from_numpy(histories.items[histories.offsets[1:] - 1])}

    def represent(self, inputs: dict[str, torch.Tensor], site: str = "last") -> torch.Tensor:
        return inputs["last"].float().unsqueeze(1)

    def score(self, representations: torch.Tensor) -> torch.Tensor:
        return -(torch.arange(self.item_count) - representations).abs()


def batch_of(histories: dict[str, list[int]], context: dict[str, list[int]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(list(histories)),
            pa.array([None] * len(histories), pa.int32()),
            pa.array(list(histories.values()), pa.list_(pa.int32())),
            pa.array(list(context.values()), pa.list_(pa.int32())),
        ],
        names=["user_id", "user_index", "item_indices", "context_indices"],
    )


@pytest.mark.parametrize("block_users", [1, 2, 64])
def test_batches_become_lists_of_item_ids(block_users: int) -> None:
    histories = {"анна": [0, 2], "b": [5], "c": [0, 1, 2, 3, 5], "d": [0, 1, 2, 3, 4, 5]}
    batch = batch_of(histories, {"анна": [2], "b": [5], "c": [3, 5], "d": [4, 5]})
    item_ids = pa.array([f"i{index}" for index in range(6)])
    blocks = list(recommend_batches(iter([batch]), TasteModel(6), item_ids, 3, block_users))
    assert {row["user_id"]: row for block in blocks for row in block.to_pylist()} == {
        "анна": {
            "user_id": "анна",
            "item_ids": ["i1", "i3", "i4"],  # 1 and 3 are as near
            "scores": [-1.0, -1.0, -2.0],
            "context_ids": ["i2"],
        },
        "b": {
            "user_id": "b",
            "item_ids": ["i4", "i3", "i2"],
            "scores": [-1.0, -2.0, -3.0],
            "context_ids": ["i5"],
        },
        "c": {"user_id": "c", "item_ids": ["i4"], "scores": [-1.0], "context_ids": ["i3", "i5"]},
        "d": {"user_id": "d", "item_ids": [], "scores": [], "context_ids": ["i4", "i5"]},
    }


def test_scoring_in_parts_gives_the_lists_of_a_full_sort() -> None:
    users, items = 64, 10_000  # parts of 4,096
    torch.manual_seed(5)
    model = BprMf(users, items, 8)
    random = np.random.default_rng(5)
    histories = {f"u{user}": random.integers(0, items, 30).tolist() for user in range(users)}
    batch = batch_of(histories, histories)
    columns = [
        pa.array(range(users), pa.int32()) if name == "user_index" else batch.column(name)
        for name in batch.schema.names
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    item_ids = pa.array([str(index) for index in range(items)])
    (block,) = recommend_batches([batch], model, item_ids, 20, users)
    with torch.no_grad():
        scores = (model.users.weight.double() @ model.items.weight.T.double()).numpy()
    expected, _ = brute_force(scores, [set(seen) for seen in histories.values()], 20)
    assert [[int(item) for item in row] for row in block.column("item_ids").to_pylist()] == expected
