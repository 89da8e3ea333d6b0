from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsae_lib.errors import InputError
from recsae_lib.tuning.held_out import Users, find_users, read_users

SEEN = [[3, 1], [], [2, 2, 0]]


def users() -> Users:
    offsets = np.cumsum([0, *map(len, SEEN)])
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    return Users(x, np.array([5, 6, 7]), offsets, np.concatenate([np.array(one, np.int64) for one in SEEN]))


def test_some_users_keep_what_they_had_seen() -> None:
    some = users().take(np.array([2, 1, 0, 2]))
    seen = [some.seen_items[a:b].tolist() for a, b in zip(some.seen_offsets, some.seen_offsets[1:], strict=False)]
    assert seen == [[2, 2, 0], [], [3, 1], [2, 2, 0]]
    assert some.targets.tolist() == [7, 6, 5, 7]
    assert some.x.tolist() == [[4, 5], [2, 3], [0, 1], [4, 5]]


def test_a_mean_of_seen_items_counts_repeats() -> None:
    means = users().mean_of_seen(np.array([6.0, 1.0, 3.0, 5.0]))
    assert means.tolist() == [3.0, 0.0, 4.0]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("test_rows")
    columns = {
        "user_id": pa.array(["a", "b", "c"]),
        "target_index": pa.array([5, 6, 7], pa.int32()),
        "seen_indices": pa.array(SEEN, pa.list_(pa.int32())),
        "representation": pa.array([[0, 1], [2, 3], [4, 5]], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), place / "part-0.parquet")
    return str(place)


def test_users_are_drawn_where_there_are_more(folder: str) -> None:
    whole, some = read_users(folder, 3, seed=1), read_users(folder, 2, seed=1)
    assert whole.targets.tolist() == [5, 6, 7]
    assert whole.seen_items.tolist() == [3, 1, 2, 2, 0]
    assert len(some) == 2
    assert set(some.targets) < {5, 6, 7}


def test_one_user_is_found_by_id(folder: str) -> None:
    ids, found = find_users(folder, "c", 5)
    assert ids == ["c"]
    assert found.seen_items.tolist() == [2, 2, 0]
    assert found.x.tolist() == [[4, 5]]
    assert find_users(folder, None, 2)[0] == ["a", "b"]
    with pytest.raises(InputError, match="'d' is not among the held-out users"):
        find_users(folder, "d", 5)
