"""Local files: written as a whole, known by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

UNFINISHED = ".unfinished"
ABANDONED_SECONDS = 86_400.0  # nothing takes a day to be written: its process was killed
BLOCK = 2**20


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Give a path to write to; what stands there at the end takes the place of `path`, of which a reader sees the old
    content or the whole new one.

    Several processes may do this at once: the last one wins. What a killed one leaves is a hidden folder beside the
    file, ``.NAME-….unfinished``; it is removed when the file is written a day later.

    Parameters
    ----------
    path : the file; its folder is made where it is missing.
    durable : whether the new content is on disk at the end, so that it outlives a power failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    # A folder, because what writes may have temporary files of its own.
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-", suffix=UNFINISHED) as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        if durable:
            _sync(unfinished)
        os.replace(unfinished, path)
    if durable:
        _sync(path.parent)


def write_whole(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a file, see `replacing`."""
    with replacing(path, durable) as unfinished:
        unfinished.write_bytes(content)


def sha256_of(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits.

    Raises
    ------
    OSError : the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def remove_abandoned(path: Path) -> None:
    """Remove what killed processes left beside a file or folder that they were writing, a day later."""
    for folder in path.parent.glob(f".{escape(path.name)}-*{UNFINISHED}"):
        with suppress(FileNotFoundError):  # another process was faster
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
