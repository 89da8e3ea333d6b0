"""The items that a step along a direction pushes up and down most, by one pass over the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from recsae_lib.recommenders.recommend import PART_SCORES
from recsae_lib.recommenders.top_items import top_items

PUSHED = 20  # items of each side


@dataclass(frozen=True)
class PushedItems:
    """Items of each direction: those that it pushes up most, then those that it pushes down most.

    Parameters
    ----------
    ranks : (k,) 1, 2, … of the items pushed up, then …, −2, −1 of those pushed down; up to `PUSHED` of each side.
    items : (rows, k) int64 item indices.
    effects : (rows, k) float64 effects, falling.
    """

    ranks: np.ndarray
    items: np.ndarray
    effects: np.ndarray


def pushed_items(directions: np.ndarray, vectors: np.ndarray, mean: np.ndarray) -> PushedItems:
    """Find the items that a step along each direction pushes up and down most.

    ::

        effect_li = (e_i − ē) · W_dec,l        ē: the mean over all items, which moves none against another

    The catalogue is read once, in parts whose products with the directions stay in cache, as lists are made
    (`recommend.scores_in_parts`); nothing of the size of the catalogue is held. A catalogue of fewer than 2 × `PUSHED`
    items is halved.

    Parameters
    ----------
    directions : (rows, d), a block of them.
    vectors : (n, d) float32 item vectors; they may be mapped from a file.
    mean : (d,) ē.
    """
    rows, up, down = len(directions), min(PUSHED, -(-len(vectors) // 2)), min(PUSHED, len(vectors) // 2)
    nothing_seen = np.zeros(2 * rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found, _ = top_items(_products(directions.astype(np.float32), vectors), *nothing_seen, PUSHED)
    items = np.concatenate([found[:rows, :up], found[rows:, :down]], axis=1)
    # Once more in double precision, so that neither rounding nor the size of a part decides their order.
    away = vectors[items.ravel()].astype(np.float64).reshape(*items.shape, -1) - mean
    effects = np.einsum("rkd,rd->rk", away, directions.astype(np.float64))
    order = np.lexsort((items, -effects), axis=1)
    ranks = np.concatenate([np.arange(1, up + 1), np.arange(-down, 0)]).astype(np.int32)
    return PushedItems(ranks, np.take_along_axis(items, order, 1), np.take_along_axis(effects, order, 1))


@torch.no_grad()
def _products(directions: np.ndarray, vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Products with the catalogue, a part after the other: (2 rows, items of the part), the lower half negated."""
    rows, steps, catalogue = len(directions), torch.from_numpy(directions), torch.from_numpy(vectors)
    width = max(PART_SCORES // max(2 * rows, 1), 64)
    buffer = torch.empty(2 * rows * width)
    for begin in range(0, len(catalogue), width):
        part = catalogue[begin : begin + width]
        both = buffer[: 2 * rows * len(part)].view(2 * rows, -1)
        torch.mm(steps, part.T, out=both[:rows])
        torch.neg(both[:rows], out=both[rows:])
        yield both.numpy()
