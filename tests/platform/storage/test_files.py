"""Files that are replaced as a whole: what readers see meanwhile, after a failure, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsae_lib.platform.storage.files import replacing, sha256_of, write_whole

WRITER = """
import sys
from pathlib import Path
from recsae_lib.platform.storage.files import replacing
with replacing(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("new, and not all of it")
    print("written", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_whole(tmp_path / "folder" / "record [1].json", b"old")
    return tmp_path / "folder" / "record [1].json"


def start_writer(path: Path) -> subprocess.Popen[str]:
    """Start a process that has written, and replaces the file when its standard input ends."""
    command = [sys.executable, "-c", WRITER, str(path)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    return writer


def test_the_old_file_stays_until_the_new_one_is_whole(path: Path) -> None:
    writer = start_writer(path)
    assert path.read_text() == "old"
    writer.communicate()
    assert path.read_text() == "new, and not all of it"
    assert os.listdir(path.parent) == [path.name]


def test_a_killed_writing_changes_nothing_and_is_cleared_up(path: Path) -> None:
    writer = start_writer(path)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert path.read_text() == "old"
    (left,) = [other for other in path.parent.iterdir() if other != path]
    assert left.name.startswith(".record [1].json-")
    assert left.name.endswith(".unfinished")
    write_whole(path, b"newer")
    assert path.read_text() == "newer"
    assert left.exists()  # it might be written at this moment
    os.utime(left, (0, 0))
    write_whole(path.with_name("record 1.json"), b"another")
    assert left.exists()
    write_whole(path, b"newest")
    assert sorted(os.listdir(path.parent)) == ["record 1.json", "record [1].json"]


def test_a_failed_writing_leaves_the_old_file(path: Path) -> None:
    def fill_the_disk() -> None:
        with replacing(path) as unfinished:
            unfinished.write_text("ne")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


def test_of_two_writings_at_once_the_last_to_end_wins(path: Path) -> None:
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_is_on_disk_before_its_name_is(
    path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("replace"), replace(old, new)))
    write_whole(path, b"new", durable)
    if durable:
        unfinished, *then = done
        assert unfinished.endswith(f".unfinished/{path.name}")
        assert then == ["replace", str(path.parent)]
    else:
        assert done == ["replace"]


def test_the_digest_is_that_of_the_whole_content(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"abc")
    assert sha256_of(tmp_path / "short") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "long").write_bytes(b"a" * 2_000_000)
    assert sha256_of(tmp_path / "long") == "bcf7f9d1b4311c3352e60502255ce09a6744df84e8f2c89f79c4b5d74933a95a"
