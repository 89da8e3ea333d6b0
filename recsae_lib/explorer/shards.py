"""Data of the page in files that a page opened from a folder can load: classic scripts of compressed JSON.

From ``file://`` a browser neither fetches nor imports; it does run scripts. A shard is ``shard("name", "base64 of
gzip")``, which the page unpacks.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 256 * 1024  # of a shard, compressed
RAW_BYTES = 640 * 1024  # of JSON that is compressed together at most: what the page unpacks to show one entry


@dataclass(frozen=True)
class Shard:
    """A part of the page's data.

    Parameters
    ----------
    name : letters, digits, ``-`` and ``/``; that of its file, without the ending.
    packed : base64 of gzip.
    """

    name: str
    packed: str

    def script(self) -> bytes:
        """Content of its file."""
        return f'shard("{self.name}","{self.packed}");\n'.encode()


def pack(name: str, content: Any) -> Shard:
    """Make one shard of anything that JSON holds. NaN and infinite numbers, which JSON has not, become null."""
    return _packed(name, json.dumps(_finite(content), ensure_ascii=False, separators=(",", ":")).encode())


def pack_bytes(name: str, content: bytes) -> Shard:
    """Make one shard of bytes: numbers as they lie in memory."""
    return _packed(name, content)


def pack_rows(
    folder: str, rows: Iterable[tuple[int, str]], write: Callable[[Shard], None], raw_bytes: int = RAW_BYTES
) -> list[int]:
    """Pack rows of JSON text, by their rising places, into shards ``folder/0``, ``folder/1``, …

    Parameters
    ----------
    rows : place and JSON text of each. Those of a shard at a time are in memory.
    write : takes each shard as it is full.

    Returns
    -------
    The first place of each shard.
    """
    firsts: list[int] = []
    for block in _blocks(rows, raw_bytes):
        for part in _small_enough(block):
            write(_packed(f"{folder}/{len(firsts)}", _array(part)))
            firsts.append(part[0][0])
    return firsts


def _blocks(rows: Iterable[tuple[int, str]], raw_bytes: int) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    size = 0
    for row in rows:
        if block and size + len(row[1]) > raw_bytes:
            yield block
            block, size = [], 0
        block.append(row)
        size += len(row[1])
    if block:
        yield block


def _small_enough(block: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Halve a block until it is small once compressed; a single row stays as it is."""
    if len(block) == 1 or len(_compressed(_array(block))) <= MOST_BYTES:
        yield block
    else:
        middle = len(block) // 2
        yield from _small_enough(block[:middle])
        yield from _small_enough(block[middle:])


def _array(block: list[tuple[int, str]]) -> bytes:
    return f"[{','.join(text for _, text in block)}]".encode()


def _packed(name: str, content: bytes) -> Shard:
    return Shard(name, base64.b64encode(_compressed(content)).decode())


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=6, mtime=0)  # no time: the same content is the same file


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
