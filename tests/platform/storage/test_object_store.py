"""S3 against a server of its protocol: conditional writes, large files, folders, and failures with their remedy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from recsae_lib.errors import PassingError
from recsae_lib.platform.storage.object_store import ObjectStore
from tests.object_storage import object_storage

LARGE = b"0123456789abcdef" * 2**20  # goes in parts
FAILURE = "The ledger is not to be had"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("objects") as address:
        yield address


@pytest.fixture
def address(bucket: str, request: pytest.FixtureRequest) -> str:
    return f"{bucket}/of/{request.node.name}/"


def store_at(address: str) -> ObjectStore:
    return ObjectStore(address, FAILURE, "paths.llm", ", then start again")


def test_of_two_writers_the_one_that_read_last_writes(address: str) -> None:
    first, second = store_at(address), store_at(address)
    absent = first.read("note.json")
    assert (absent.content, absent.tag) == (None, None)
    assert abs(absent.time - time.time()) < 60
    assert first.write("note.json", b"1", None) is True
    assert second.write("note.json", b"2", None) is False
    found = second.read("note.json")
    assert found.content == b"1"
    assert abs(found.time - time.time()) < 60
    assert second.write("note.json", b"3", found.tag) is True
    assert first.write("note.json", b"4", found.tag) is False
    assert first.read("note.json").content == b"3"


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
def test_a_file_goes_and_comes_as_it_is(address: str, tmp_path: Path, content: bytes) -> None:
    store = store_at(address)
    (tmp_path / "sent").write_bytes(content)
    store.upload(tmp_path / "sent", "llm/shop.sqlite")
    received = tmp_path / "new" / "folder" / "received"
    assert store.download("llm/shop.sqlite", received) is True
    assert received.read_bytes() == content
    key = f"{address}llm/shop.sqlite"
    assert fsspec.filesystem("s3").cat_file(key) == content
    assert ("-" in fsspec.filesystem("s3").info(key)["ETag"]) == (content == LARGE)


def test_an_absent_object_leaves_the_file_that_is_here(address: str, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"older")
    assert store_at(address).download("absent", tmp_path / "here") is False
    assert (tmp_path / "here").read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["here"]


def test_a_folder_is_listed_without_its_neighbours(address: str) -> None:
    store = store_at(address)
    for name in ("shards/a", "shards/b/c", "shards2/d", "e"):
        store.write(name, b"", None)
    assert store.names("shards") == ["shards/a", "shards/b/c"]
    assert store.names("absent") == []
    store.delete("shards/a")
    store.delete("absent")
    assert store.names("shards") == ["shards/b/c"]
    assert store.key("e").startswith("of/test_a_folder_is_listed")


CALLS: dict[str, Callable[[ObjectStore, Path], object]] = {
    "read": lambda store, file: store.read("x"),
    "write": lambda store, file: store.write("x", b"", None),
    "upload": lambda store, file: store.upload(file, "x"),
    "download": lambda store, file: store.download("x", file),
    "delete": lambda store, file: store.delete("x"),
    "names": lambda store, file: store.names("x"),
}


@pytest.mark.parametrize("call", CALLS)
def test_storage_that_does_not_answer_is_named(
    address: str, tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PassingError, match=f"{FAILURE}: ") as failed:
        CALLS[call](store_at(address), tmp_path / "file")
    assert failed.value.remedy == (
        "Check that the bucket of paths.llm exists and answers, and that this machine may write to it, then start again"
    )
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("call", sorted({*CALLS} - {"download"}))  # whose question after the size knows no bucket
def test_storage_that_refuses_is_named(bucket: str, tmp_path: Path, call: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(PassingError, match="NoSuchBucket"):
        CALLS[call](store_at("s3://nowhere/folder"), tmp_path / "file")
