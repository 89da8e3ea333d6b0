from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsae_lib.representations import parts
from recsae_lib.representations.parts import parts_of, read_part


def write(path: Path, users: list[str]) -> int:
    columns = {
        "user_id": users,
        "representation": pa.array([[1.0, 2.0]] * len(users), pa.list_(pa.float32())),
        "z": users,
    }
    pq.write_table(pa.table(columns), path)
    return path.stat().st_size


def test_parts_are_alike_and_every_row_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [[f"{letter}{row}" for row in range(3)] for letter in "abcdefg"]
    sizes = [write(tmp_path / f"{number}.parquet", of_file) for number, of_file in enumerate(users)]
    assert len(set(sizes)) == 1
    (tmp_path / "_SUCCESS").touch()
    monkeypatch.setattr(parts, "PART_BYTES", 2 * sizes[0])
    assert [len(part) for part in parts_of(str(tmp_path), at_once=1)] == [2, 1, 2, 2]
    assert [len(part) for part in parts_of(str(tmp_path), at_once=3)] == [1, 1, 1, 2, 1, 1]
    found = parts_of(str(tmp_path), at_once=1)
    batches = [batch for part in found for batch in read_part(part)]
    found_users = [user for batch in batches for user in batch.column("user_id").to_pylist()]
    assert found_users == [user for of_file in users for user in of_file]
    assert {tuple(batch.schema.names) for batch in batches} == {("user_id", "representation")}


def test_large_file_is_a_part_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [write(tmp_path / f"{number}.parquet", ["a", "b"]) for number in (1, 3)]
    write(tmp_path / "2.parquet", [f"x{row}" for row in range(5000)])
    monkeypatch.setattr(parts, "PART_BYTES", 2 * small[0])
    assert [[Path(location).stem for location in part] for part in parts_of(str(tmp_path), 1)] == [["1"], ["2"], ["3"]]


def test_folder_without_files_has_no_parts(tmp_path: Path) -> None:
    assert parts_of(str(tmp_path), 4) == []
