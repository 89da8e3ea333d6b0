"""What the page needs to turn a concept itself: item vectors, some held-out users, and the rows of the decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fsspec
import numpy as np

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.explorer.shards import MOST_BYTES, Shard, pack, pack_bytes
from recsae_lib.explorer.texts import TITLE
from recsae_lib.platform.job.context import JobContext
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.redaction import redacted
from recsae_lib.representations.layout import COMPLETE_MARKER, RepresentationSet
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.tuning.catalogue import read_titles
from recsae_lib.tuning.held_out import Users, find_users
from recsae_lib.tuning.places import catalogue_files, has_held_out_users
from recsae_lib.tuning.world import encode

MOST_ITEMS = 200_000
SAMPLE_USERS = 40
SEEN_SHOWN = 6  # latest items of a sample user, by which people know who is meant
TITLES_OF_SHARD = 8192


def why_no_knob(context: JobContext) -> str | None:
    """Say why no concept can be turned in the page; None where it can."""
    if context.site != DEFAULT_SITE:
        return f"items are not scored from site {context.site}"
    try:
        folder = context.registry.fetch(context.recommender_name, context.model_version)
    except InputError as error:
        return redacted(f"the recommender of this audit is not in the registry ({error})")
    if not has_held_out_users(context):
        return "no held-out users of this date are kept"
    file_system, catalogue = fsspec.core.url_to_fs(catalogue_files(context).folder)
    if not file_system.exists(f"{catalogue}/{COMPLETE_MARKER}"):
        return "its items were not laid beside their vectors, as earlier versions did not; extract_representations does"
    recommender = load_recommender(folder, context.settings.recommender.factory)
    if not recommender.dot_scored:
        return "this recommender does not score items by a dot product"
    if recommender.item_count > MOST_ITEMS:
        return f"its catalogue of {recommender.item_count:,} items is larger than {MOST_ITEMS:,}"
    return None


def write_knob(
    context: JobContext, sae: SparseAutoencoder, live: np.ndarray, show_users: bool, write: Callable[[Shard], None]
) -> dict[str, Any]:
    """Write what a concept is turned with, and describe it.

    The vectors are float32, as `recsae tune` scores with: with float16 one in fifty lists of MovieLens-100K is another.

    Parameters
    ----------
    live : (L,) the latents that the page knows, rising.

    Returns
    -------
    What the page needs to read the shards ``vectors/…``, ``decoder/…``, ``names/…`` and ``users``.
    """
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    recommender = load_recommender(folder, context.settings.recommender.factory)
    vectors = np.ascontiguousarray(recommender.item_embeddings().detach().cpu().numpy(), dtype="<f4")
    decoder = np.ascontiguousarray(sae.W_dec.detach().cpu().numpy()[live], dtype="<f4")
    items, width = vectors.shape
    rows = max(1, MOST_BYTES // (4 * width))
    for name, matrix in {"vectors": vectors, "decoder": decoder}.items():
        for number, start in enumerate(range(0, len(matrix), rows)):
            write(pack_bytes(f"{name}/{number}", matrix[start : start + rows].tobytes()))
    titles = read_titles(catalogue_files(context).folder, np.arange(items))
    names = [_short(titles.get(item, "")) for item in range(items)]
    for number, start in enumerate(range(0, items, TITLES_OF_SHARD)):
        write(pack(f"names/{number}", names[start : start + TITLES_OF_SHARD]))
    ids, users = find_users(RepresentationSet.of_context(context, "test").require(), None, SAMPLE_USERS)
    write(pack("users", _users(ids if show_users else None, users, sae)))
    return {"items": items, "width": width, "rows": rows, "name_rows": TITLES_OF_SHARD, "users": len(users)}


def _users(ids: list[str] | None, users: Users, sae: SparseAutoencoder) -> list[dict[str, Any]]:
    activations, latent_ids = encode(sae, users.x)
    listed = []
    for place in range(len(users)):
        seen = users.seen_items[users.seen_offsets[place] : users.seen_offsets[place + 1]]
        fires = activations[place] > 0
        listed.append(
            {
                "id": None if ids is None else ids[place],
                "x": _numbers(users.x[place]),
                "seen": [int(item) for item in seen],
                "latest": [int(item) for item in seen[-SEEN_SHOWN:]],
                "latents": [int(latent) for latent in latent_ids[place][fires]],
                "activations": _numbers(activations[place][fires]),
            }
        )
    return listed


def _numbers(values: np.ndarray) -> list[float]:
    """float32 as decimal numbers that give the same float32 again."""
    return [float(str(value)) for value in values.astype(np.float32)]


def _short(title: str) -> str:
    return title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
