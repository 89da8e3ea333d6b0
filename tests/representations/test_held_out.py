from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsae_lib.errors import InputError
from recsae_lib.representations.held_out import read_held_out


def write(path: Path, first: int, users: int) -> None:
    """User u has seen the items 0 … u−1, takes item 100 + u and has the representation (u, −u)."""
    rows = range(first, first + users)
    table = pa.table(
        {
            "user_id": [f"u{u}" for u in rows],
            "target_index": pa.array([100 + u for u in rows], pa.int32()),
            "seen_indices": pa.array([list(range(u)) for u in rows], pa.list_(pa.int32())),
            "representation": pa.array([[u, -u] for u in rows], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, path)


@pytest.mark.parametrize("block_users", [1, 3, 100])
def test_blocks_hold_each_user_once_with_what_they_had_seen(tmp_path: Path, block_users: int) -> None:
    write(tmp_path / "part-0.parquet", 0, 4)
    write(tmp_path / "part-1.parquet", 4, 0)
    write(tmp_path / "part-2.parquet", 4, 5)
    found = []
    for block in read_held_out(str(tmp_path), block_users):
        assert 1 <= len(block.targets) <= block_users
        for place, target in enumerate(block.targets):
            seen = block.seen_items[block.seen_offsets[place] : block.seen_offsets[place + 1]]
            found.append((int(target), seen.tolist(), block.representations[place].tolist()))
    assert found == [(100 + u, list(range(u)), [float(u), float(-u)]) for u in range(9)]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="no intact held-out users"):
        list(read_held_out(str(tmp_path), 4))
