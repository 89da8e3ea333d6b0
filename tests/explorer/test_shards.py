from __future__ import annotations

import base64
import gzip
import json
import random

from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.explorer.shards import MOST_BYTES, Shard, pack, pack_rows


def content(shard: Shard) -> object:
    return json.loads(gzip.decompress(base64.b64decode(shard.packed)))


@given(st.lists(st.text(max_size=30)), st.integers(1, 200))
def test_rows_come_back_in_their_order(texts: list[str], raw_bytes: int) -> None:
    shards: list[Shard] = []
    rows = ((2 * place, json.dumps(text)) for place, text in enumerate(texts))
    firsts = pack_rows("cards", rows, shards.append, raw_bytes)
    parts = [content(shard) for shard in shards]
    assert [one for part in parts for one in part] == texts  # type: ignore[attr-defined]  # lists
    assert [shard.name for shard in shards] == [f"cards/{number}" for number in range(len(firsts))]
    starts, place = [], 0
    for part in parts:
        starts.append(2 * place)
        place += len(part)  # type: ignore[arg-type]  # lists
    assert firsts == starts


def test_what_does_not_compress_is_cut_into_small_shards() -> None:
    draw = random.Random(1)
    rows = [
        (place, json.dumps("".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(4000)))) for place in range(100)
    ]
    shards: list[Shard] = []
    pack_rows("cards", rows, shards.append)
    sizes = [len(base64.b64decode(shard.packed)) for shard in shards]
    assert max(sizes) <= MOST_BYTES < sum(sizes)


def test_the_same_content_is_the_same_file_and_no_number_is_missing() -> None:
    said = {"a": [1.5, float("nan"), float("inf")], "b": "</script>"}
    assert pack("x", said) == pack("x", said)
    assert content(pack("x", said)) == {"a": [1.5, None, None], "b": "</script>"}
    assert b"<" not in pack("x", said).script()
