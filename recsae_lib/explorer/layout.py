"""Where concepts stand on the map, and which are near: by the directions in which their latents write."""

from __future__ import annotations

import numpy as np

from recsae_lib.recommenders.top_items import top_items

NEAREST = 6
BLOCK, PART = 1024, 512  # rows by rows whose cosines are taken at once: they fit the cache
WIDTH = 400  # of the map, in steps that a screen shows
MOST_EMBEDDED = 2_000  # latents that t-SNE lays out within seconds; beyond, the first two principal components do


def unit_rows_of(decoder: np.ndarray) -> np.ndarray:
    """Rows of length 1, (L, d) float32; a row of zeros stays."""
    lengths = np.linalg.norm(decoder, axis=1, keepdims=True)
    rows: np.ndarray = (decoder / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return rows


def nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other rows by cosine.

    Parameters
    ----------
    rows : (L, d) of length 1.

    Returns
    -------
    places, cosines : (L, min(`NEAREST`, L − 1)), nearest first; equal cosines by place.
    """
    count = max(min(NEAREST, len(rows) - 1), 0)
    places = np.empty((len(rows), count), dtype=np.int64)
    cosines = np.empty((len(rows), count), dtype=np.float32)
    for start in range(0, len(rows) if count > 0 else 0, BLOCK):
        block = rows[start : start + BLOCK]
        parts = (block @ rows[first : first + PART].T for first in range(0, len(rows), PART))
        own = np.arange(start, start + len(block))  # is left out, as a seen item would be
        places[own], cosines[own] = top_items(parts, np.arange(len(block) + 1), own, count)
    return places, cosines


def map_of(rows: np.ndarray, seed: int) -> tuple[str, np.ndarray]:
    """Lay rows out in the plane, near ones near each other.

    Parameters
    ----------
    rows : (L, d) of length 1.

    Returns
    -------
    how, positions : ``t-SNE`` or ``PCA``, and (L, 2) int64 from 0 to `WIDTH`.
    """
    if len(rows) < 3:
        return "PCA", np.full((len(rows), 2), WIDTH // 2)
    how, positions = "PCA", principal_components(rows)
    if 10 <= len(rows) <= MOST_EMBEDDED:
        from sklearn.manifold import TSNE  # takes its time to be imported

        perplexity = min(30.0, (len(rows) - 1) / 3)
        start = (positions / max(float(positions[:, 0].std()), 1e-9) * 1e-4).astype(np.float32)
        how, positions = "t-SNE", TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(rows)
    low, high = positions.min(axis=0), positions.max(axis=0)
    scaled = (positions - low) / np.where(high > low, high - low, 1.0)
    return how, np.round(scaled * WIDTH).astype(np.int64)


def principal_components(rows: np.ndarray) -> np.ndarray:
    """The first two principal components of rows, (L, 2) float64, each with its largest entry positive."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    first = directions[:, ::-1][:, :2]
    first = first * np.sign(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])])
    positions: np.ndarray = centred @ first
    return positions if positions.shape[1] == 2 else np.column_stack([positions, np.zeros(len(rows))])
