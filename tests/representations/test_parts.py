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


def test_files_are_grouped_by_size_and_every_row_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [[f"{letter}{row}" for row in range(3)] for letter in "abcde"]
    sizes = [write(tmp_path / f"{number}.parquet", of_file) for number, of_file in enumerate(users)]
    large = [f"x{row}" for row in range(5000)]
    write(tmp_path / "5.parquet", large)
    (tmp_path / "_SUCCESS").touch()
    monkeypatch.setattr(parts, "PART_BYTES", sum(sizes[:2]))
    found = parts_of(str(tmp_path))
    assert [[Path(location).name for location in part] for part in found] == [
        ["0.parquet", "1.parquet"],
        ["2.parquet", "3.parquet"],
        ["4.parquet"],
        ["5.parquet"],
    ]
    batches = [batch for part in found for batch in read_part(part)]
    found_users = [user for batch in batches for user in batch.column("user_id").to_pylist()]
    assert found_users == [user for of_file in users for user in of_file] + large
    assert {tuple(batch.schema.names) for batch in batches} == {("user_id", "representation")}


def test_folder_without_files_has_no_parts(tmp_path: Path) -> None:
    assert parts_of(str(tmp_path)) == []
