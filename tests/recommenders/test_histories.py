from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.errors import InputError
from recsae_lib.recommenders.histories import histories_from_arrow

INT_LISTS = pa.list_(pa.int32())
users_with_items = st.lists(
    st.tuples(st.none() | st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**31 - 1), max_size=5)), max_size=8
)


@settings(max_examples=200, deadline=None)
@given(users_with_items, st.integers(0, 8), st.integers(0, 8))
def test_batches_and_slices_of_them_are_read_as_they_stand(
    rows: list[tuple[int | None, list[int]]], start: int, length: int
) -> None:
    users = pa.array([user for user, _ in rows], pa.int32())
    items = pa.array([items for _, items in rows], INT_LISTS)
    histories = histories_from_arrow(users.slice(start, length), items.slice(start, length))
    expected = rows[start : start + length]
    assert len(histories) == len(expected)
    assert histories.user_indices.tolist() == [-1 if user is None else user for user, _ in expected]
    assert histories.offsets.tolist() == np.cumsum([0, *(len(items) for _, items in expected)]).tolist()
    assert histories.items.tolist() == [item for _, items in expected for item in items]
    assert {array.dtype for array in (histories.user_indices, histories.offsets, histories.items)} == {
        np.dtype(np.int64)
    }


def test_values_that_have_the_right_type_are_not_copied() -> None:
    items = pa.array([[1, 2], [3]], pa.list_(pa.int64()))
    histories = histories_from_arrow(pa.array([0, 1], pa.int64()), items)
    assert histories.items.ctypes.data == items.values.buffers()[1].address


@pytest.mark.parametrize("lists", [[[1], None], [[1, None]], [None]])
def test_nulls_in_histories_are_refused(lists: list[list[int | None] | None]) -> None:
    with pytest.raises(InputError, match="null"):
        histories_from_arrow(pa.array([0] * len(lists), pa.int32()), pa.array(lists, INT_LISTS))


def test_a_null_outside_of_the_slice_does_not_matter() -> None:
    lists = pa.array([None, [4], [None]], INT_LISTS).slice(1, 1)
    assert histories_from_arrow(pa.array([2], pa.int32()), lists).items.tolist() == [4]
