"""Taking the embedded data set out of a wheel."""

from __future__ import annotations

import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsae_lib.datasets.public.embedded import NEEDED, WHEEL_SHA256, extract_dataset, fetch_movielens_100k
from recsae_lib.errors import InputError

FOLDER = "recbole/dataset_example/ml-100k"


def write_wheel(path: Path, members: dict[str, str]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> tuple[Path, str]:
    members = {f"{FOLDER}/{name}": name for name in NEEDED}
    members |= {"recbole/__init__.py": "raise SystemExit", f"{FOLDER}/../../../../escaped": "x", f"{FOLDER}/sub/x": "x"}
    path = tmp_path / "recbole.whl"
    return path, write_wheel(path, members)


def test_only_the_data_files_are_taken_out(wheel: tuple[Path, str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    extract_dataset(*wheel, cache / "data")
    assert sorted(path.name for path in cache.rglob("*")) == ["data", *NEEDED]
    assert (cache / "data" / NEEDED[0]).read_text() == NEEDED[0]
    assert not list(tmp_path.parent.rglob("escaped"))


def test_a_wheel_with_another_checksum_is_refused(wheel: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the SHA-256"):
        extract_dataset(wheel[0], WHEEL_SHA256, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_wheel_without_the_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.whl"
    sha256 = write_wheel(path, {f"{FOLDER}/{NEEDED[0]}": "x"})
    with pytest.raises(InputError, match="does not hold"):
        extract_dataset(path, sha256, tmp_path / "data")
    assert sorted(tmp_path.iterdir()) == [path]


def test_an_incomplete_folder_is_completed_and_loses_nothing(wheel: tuple[Path, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / NEEDED[0]).write_text("half")
    (data / "other").write_text("which another process has put there")
    extract_dataset(*wheel, data)
    assert sorted(path.name for path in data.iterdir()) == [*NEEDED, "other"]
    assert [(data / name).read_text() for name in NEEDED] == list(NEEDED)


def test_many_at_once_end_in_a_whole_folder(wheel: tuple[Path, str], tmp_path: Path) -> None:
    def extract_and_read(data: Path) -> list[str]:
        extract_dataset(*wheel, data)
        return [(data / name).read_text() for name in NEEDED]

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            data = tmp_path / f"cache-{number}" / "data"
            data.parent.mkdir()
            assert list(pool.map(extract_and_read, [data] * 8)) == [list(NEEDED)] * 8
            assert sorted(path.name for path in data.parent.rglob("*")) == ["data", *NEEDED]


def test_a_complete_cache_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"ml-100k-{WHEEL_SHA256[:12]}"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).write_text("cached")
    monkeypatch.setattr("sys.executable", "/nowhere/python")  # a download would fail
    assert fetch_movielens_100k(tmp_path) == folder
    assert (folder / NEEDED[0]).read_text() == "cached"


def test_without_pip_the_cause_and_another_way_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip = tmp_path / "python"
    without_pip.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    without_pip.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(without_pip))
    with pytest.raises(InputError, match=r"No module named pip\. Check that pip is installed"):
        fetch_movielens_100k(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
