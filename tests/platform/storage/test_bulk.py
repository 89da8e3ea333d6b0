from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsae_lib.platform.storage.bulk import parquet_files, stream_columns
from tests.object_storage import object_storage


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("bulk") as address:
        yield address


@pytest.fixture(params=["local", "s3"])
def folder(bucket: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return f"{tmp_path}/items" if request.param == "local" else f"{bucket}/items"


def write(folder: str, name: str, ids: list[str]) -> None:
    file_system, root = fsspec.core.url_to_fs(folder)
    file_system.makedirs(root, exist_ok=True)
    with file_system.open(f"{root}/{name}", "wb") as file:
        pq.write_table(pa.table({"id": ids, "number": [len(i) for i in ids]}), file)


def test_columns_come_in_the_order_of_the_files(folder: str) -> None:
    write(folder, "part-00001.parquet", ["c"])
    write(folder, "part-00000.parquet", ["a", "bb"])
    write(folder, "part-00002.parquet.crc", ["x"])
    file_system, files = parquet_files(folder)
    assert [path.rpartition("/")[2] for path in files] == ["part-00000.parquet", "part-00001.parquet"]
    assert {path: file_system.size(path) for path in files} == files
    batches = list(stream_columns(folder, ["id"]))
    assert [batch.to_pydict() for batch in batches] == [{"id": ["a", "bb"]}, {"id": ["c"]}]


def test_what_another_process_wrote_since_is_read(bucket: str) -> None:
    folder, name = f"{bucket}/later", "part-00000.parquet"
    write(folder, name, ["a"])
    fsspec.filesystem("s3").ls(folder)
    write(f"{bucket}/other", name, ["a" * 9] * 999)
    fsspec.filesystem("s3", skip_instance_cache=True).copy(f"{bucket}/other/{name}", f"{folder}/{name}")
    assert sum(len(batch) for batch in stream_columns(folder, ["id"])) == 999
