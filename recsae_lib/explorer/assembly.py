"""Cards from their entries, one after the other, as they come in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import pyarrow as pa

CARDS_OF_BATCH = 256


def assembled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Make cards of entries, for `DataFrame.mapInArrow`.

    Parameters
    ----------
    batches : (latent_id, list, place, entry), in this order; ``entry`` is a JSON object. Those without the name of a
        list are parts of the card itself.

    Returns
    -------
    Iterator : (latent_id INT, card STRING), at most `CARDS_OF_BATCH` rows a batch.
    """
    latents: list[int] = []
    cards: list[str] = []
    for latent, entries in groupby(_rows(batches), key=itemgetter(0)):
        latents.append(latent)
        cards.append(_card((name, entry) for _, name, entry in entries))
        if len(cards) == CARDS_OF_BATCH:
            yield _batch(latents, cards)
            latents, cards = [], []
    yield _batch(latents, cards)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, str, str]]:
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("latent_id", "list", "entry"))
        yield from zip(*columns, strict=True)


def _card(entries: Iterable[tuple[str, str]]) -> str:
    fields = []
    for name, group in groupby(entries, key=itemgetter(0)):
        texts = [entry for _, entry in group]
        if name:
            fields.append(f'"{name}":[{",".join(texts)}]')
        else:
            fields += [inner for text in texts if (inner := text[1:-1])]
    return f"{{{','.join(fields)}}}"


def _batch(latents: list[int], cards: list[str]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(latents, pa.int32()), pa.array(cards, pa.string())], ["latent_id", "card"])
