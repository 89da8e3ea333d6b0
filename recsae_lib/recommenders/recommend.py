"""The top-N items of every user over the full catalogue: Spark distributes users, Arrow and torch do the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.errors import InputError
from recsae_lib.recommenders.histories import histories_from_arrow
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.worker import worker_item_ids, worker_recommender
from recsae_lib.shipping import ship_folder

RECOMMENDED_COLUMNS = "user_id string, item_ids array<string>, scores array<float>, context_ids array<string>"
BLOCK_SCORES = 2**26  # a block of users × items holds no more (256 MiB), however large the catalogue
NARROWEST_GROUP = 32  # items; torch's maximum over shorter runs is slow


def recommend(histories: DataFrame, model_folder: Path, top_n: int, context_items: int, block_users: int) -> DataFrame:
    """Recommend unseen items to every user (P_u of method.md section 3) and keep the latest history (H_u).

    Parameters
    ----------
    histories : (user_id, user_index INT, item_indices ARRAY<INT>), items oldest first. Users without an index are
        left out where the model reads it.
    model_folder : folder of `recommenders.store`.
    top_n : items a user; one with fewer unseen items gets fewer.
    context_items : latest items of the history that are kept.
    block_users : users scored at once.

    Returns
    -------
    DataFrame : `RECOMMENDED_COLUMNS`; items by falling score, equal scores by item index; context oldest first.

    Raises
    ------
    InputError : (when the rows are computed) a score is NaN.
    """
    model = load_recommender(model_folder)
    shipped = ship_folder(histories.sparkSession, model_folder)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return recommend_batches(batches, worker_recommender(shipped), worker_item_ids(shipped), top_n, block_users)

    first_of_context = F.greatest(F.size("item_indices") - context_items + 1, F.lit(1))
    context = F.slice("item_indices", first_of_context, context_items).alias("context_indices")
    users = histories.where("user_index IS NOT NULL") if model.reads_user_index else histories
    return users.select("user_id", "user_index", "item_indices", context).mapInArrow(run, RECOMMENDED_COLUMNS)


def recommend_batches(
    batches: Iterable[pa.RecordBatch], model: Recommender, item_ids: pa.StringArray, top_n: int, block_users: int
) -> Iterator[pa.RecordBatch]:
    """Turn batches of (user_id, user_index, item_indices, context_indices) into `RECOMMENDED_COLUMNS`.

    Parameters
    ----------
    item_ids : (item_count,) id of each item index.
    """
    rows = max(1, min(block_users, BLOCK_SCORES // model.item_count))
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield _recommend_block(batch.slice(start, rows), model, item_ids, top_n)


def _recommend_block(block: pa.RecordBatch, model: Recommender, item_ids: pa.StringArray, top_n: int) -> pa.RecordBatch:
    histories = histories_from_arrow(block.column("user_index"), block.column("item_indices"))
    scores = model.score(model.represent(model.build_inputs(histories)))
    items, best = top_items(scores, histories.offsets, histories.items, top_n)
    there = best > -torch.inf
    offsets = np.zeros(len(block) + 1, dtype=np.int32)
    np.cumsum(there.sum(1).numpy(), out=offsets[1:])
    context = block.column("context_indices")
    return pa.RecordBatch.from_arrays(
        [
            block.column("user_id"),
            pa.ListArray.from_arrays(offsets, item_ids.take(pa.array(items[there].numpy()))),
            pa.ListArray.from_arrays(offsets, pa.array(best[there].numpy())),
            pa.ListArray.from_arrays(_own_offsets(context), item_ids.take(context.flatten())),
        ],
        names=["user_id", "item_ids", "scores", "context_ids"],
    )


def top_items(
    scores: torch.Tensor, seen_offsets: np.ndarray, seen_items: np.ndarray, top_n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick the `top_n` highest-scored items of each user that they have not seen, equal scores by item index.

    Items are cut into groups of neighbours. The N best items lie in the N groups whose maximum is best (of equal
    maxima, the earlier group): each better group holds an item that ranks before all of a worse one. Only those groups
    are searched.

    Parameters
    ----------
    scores : (users, items) float32, contiguous; seen items are overwritten by -∞.
    seen_offsets, seen_items : the items of user b are ``seen_items[seen_offsets[b]:seen_offsets[b + 1]]``.
    top_n : items wanted a user.

    Returns
    -------
    (indices, scores) : (users, ≤ top_n) int64 and float32, best first; a score of -∞ means that there is no item.

    Raises
    ------
    InputError : a score is NaN.
    """
    items = scores.shape[1]
    _mask(scores, seen_offsets, seen_items)
    width = max(math.isqrt(items // top_n), NARROWEST_GROUP)
    maxima = _group_maxima(scores, width)
    if maxima.isnan().any():
        raise InputError("The recommender scores an item with NaN", "Train it again; its weights are damaged")
    groups = torch.arange(maxima.shape[1])
    best_groups = _ranks(maxima, groups).topk(min(top_n, len(groups)), sorted=False).indices
    candidates = (best_groups.unsqueeze(2) * width + torch.arange(width)).flatten(1)
    beyond = candidates >= items  # the last group may be shorter
    values = scores.gather(1, candidates.masked_fill(beyond, 0)).masked_fill_(beyond, -torch.inf)
    best = _ranks(values, candidates).topk(min(top_n, candidates.shape[1])).indices
    return candidates.gather(1, best), values.gather(1, best)


def _mask(scores: torch.Tensor, seen_offsets: np.ndarray, seen_items: np.ndarray) -> None:
    users = np.repeat(np.arange(len(scores)), np.diff(seen_offsets))
    flat = users * scores.shape[1] + seen_items
    scores.view(-1).index_fill_(0, torch.from_numpy(flat), -torch.inf)


def _group_maxima(scores: torch.Tensor, width: int) -> torch.Tensor:
    whole = scores.shape[1] // width * width
    maxima = [scores[:, :whole].unflatten(1, (-1, width)).amax(2)] if whole else []
    if whole < scores.shape[1]:
        maxima.append(scores[:, whole:].amax(1, keepdim=True))
    return torch.cat(maxima, dim=1)


def _ranks(scores: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Integers that order like (score, then falling index), no two alike: torch.topk leaves the order of ties open."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0: -0 and 0 are equal
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    return (ordered.to(torch.int64) << 32) - indices


def _own_offsets(lists: pa.ListArray) -> np.ndarray:
    """Offsets into ``lists.flatten()``, which a slice of a longer array does not hold."""
    offsets = lists.offsets.to_numpy()
    return offsets - offsets[0]
