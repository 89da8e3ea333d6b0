"""The top-N items of every user over the full catalogue: Spark distributes users, Arrow and torch do the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.foreign.tables import vectors_of
from recsae_lib.recommenders.histories import histories_from_arrow
from recsae_lib.recommenders.protocol import Histories, Recommender
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.top_items import top_items
from recsae_lib.recommenders.worker import worker_item_ids, worker_recommender

RECOMMENDED_COLUMNS = "user_id string, item_ids array<string>, scores array<float>, context_ids array<string>"
BLOCK_SCORES = 2**26  # a block of users × items holds no more (256 MiB), where a model scores all items at once
PART_SCORES = 2**18  # of a block and a part of the catalogue: 1 MiB stays in cache until the best are picked


def recommend(
    histories: DataFrame,
    model_folder: Path,
    top_n: int,
    context_items: int,
    block_users: int,
    factory: str | None = None,
    representations: DataFrame | None = None,
) -> DataFrame:
    """Recommend unseen items to every user (P_u of METHOD.md section 3) and keep the latest history (H_u).

    Parameters
    ----------
    histories : (user_id, user_index INT, item_indices ARRAY<INT>), items oldest first. Users without an index are
        left out where the model reads it.
    model_folder : folder of `recommenders.store`.
    top_n : items a user; one with fewer unseen items gets fewer.
    context_items : latest items of the history that are kept.
    block_users : users scored at once.
    factory : as `load_recommender`.
    representations : (user_id, representation ARRAY<FLOAT>) where the model does not make them itself; then users are
        those of this table.

    Returns
    -------
    DataFrame : `RECOMMENDED_COLUMNS`; items by falling score, equal scores by item index; context oldest first.

    Raises
    ------
    InputError : (when the rows are computed) a score is NaN.
    """
    model = load_recommender(model_folder, factory)
    shipped = ship_folder(histories.sparkSession, model_folder)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = worker_recommender(shipped, factory)
        return recommend_batches(batches, loaded, worker_item_ids(shipped), top_n, block_users)

    users = users_to_score(histories, model, representations)
    return users.withColumn("context_indices", _context(context_items)).mapInArrow(run, RECOMMENDED_COLUMNS)


def users_to_score(histories: DataFrame, model: Recommender, representations: DataFrame | None) -> DataFrame:
    """Choose the users whom a model scores items for; arguments as of `recommend`.

    Returns
    -------
    DataFrame : (user_id, user_index, item_indices[, representation]).
    """
    if representations is not None:
        users = _with_history(representations, histories)
        return users.select("user_id", "user_index", "item_indices", "representation")
    users = histories.where("user_index IS NOT NULL") if model.reads_user_index else histories
    return users.select("user_id", "user_index", "item_indices")


def recommend_given(
    lists: DataFrame, histories: DataFrame, model_folder: Path, top_n: int, context_items: int
) -> DataFrame:
    """Take recommendations of your own, the first `top_n` of each user, and keep the latest history beside them.

    Parameters
    ----------
    lists : (user_id, item_ids ARRAY<STRING>[, scores ARRAY<FLOAT>]), best first (`foreign.tables.validate_lists`).
        Seen items are not masked.
    histories, model_folder, context_items : as `recommend`.

    Returns
    -------
    DataFrame : `RECOMMENDED_COLUMNS`; without scores of yours, 1 / place.
    """
    shipped = ship_folder(histories.sparkSession, model_folder)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            context = batch.column("context_indices")
            ids = pa.ListArray.from_arrays(_own_offsets(context), worker_item_ids(shipped).take(context.flatten()))
            columns = [batch.column(name) for name in ("user_id", "item_ids", "scores")]
            yield pa.RecordBatch.from_arrays([*columns, ids], names=["user_id", "item_ids", "scores", "context_ids"])

    places = F.transform("item_ids", lambda _, place: (1.0 / (place + 1)).cast("float"))
    scores = F.col("scores") if "scores" in lists.columns else places
    return (
        _with_history(lists, histories)
        .select(
            "user_id",
            F.slice("item_ids", 1, top_n).alias("item_ids"),
            F.slice(scores, 1, top_n).alias("scores"),
            _context(context_items).alias("context_indices"),
        )
        .mapInArrow(run, RECOMMENDED_COLUMNS)
    )


def _context(items: int) -> Column:
    first = F.greatest(F.size("item_indices") - items + 1, F.lit(1))
    return F.slice("item_indices", first, items)


def _with_history(users: DataFrame, histories: DataFrame) -> DataFrame:
    """Put the history of each user beside what is known of them; an empty one where there is none."""
    joined = users.join(histories.select("user_id", "user_index", "item_indices"), "user_id", how="left")
    empty = F.array().cast("array<int>")
    return joined.withColumn("item_indices", F.coalesce("item_indices", empty))


def recommend_batches(
    batches: Iterable[pa.RecordBatch], model: Recommender, item_ids: pa.StringArray, top_n: int, block_users: int
) -> Iterator[pa.RecordBatch]:
    """Turn batches of (user_id, user_index, item_indices, context_indices[, representation]) into
    `RECOMMENDED_COLUMNS`.

    Parameters
    ----------
    item_ids : (item_count,) id of each item index.
    """
    rows = users_at_once(model, block_users)
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield _recommend_block(batch.slice(start, rows), model, item_ids, top_n)


def users_at_once(model: Recommender, block_users: int) -> int:
    """How many users of a block are scored at once; fewer where a model scores all items at once."""
    return block_users if model.dot_scored else max(1, min(block_users, BLOCK_SCORES // model.item_count))


def _recommend_block(block: pa.RecordBatch, model: Recommender, item_ids: pa.StringArray, top_n: int) -> pa.RecordBatch:
    histories = histories_from_arrow(block.column("user_index"), block.column("item_indices"))
    if "representation" in block.schema.names:
        x = own_representations(block, model)
    else:
        x = model.represent(model.build_inputs(histories))
    items, best = best_unseen(model, x, histories, top_n)
    context = block.column("context_indices")
    context_ids = pa.ListArray.from_arrays(_own_offsets(context), item_ids.take(context.flatten()))
    return pa.RecordBatch.from_arrays(
        [block.column("user_id"), *list_columns(items, best, item_ids), context_ids],
        names=["user_id", "item_ids", "scores", "context_ids"],
    )


def own_representations(block: pa.RecordBatch, model: Recommender) -> torch.Tensor:
    """Take the representations of your own that stand in a block, (users, d)."""
    return torch.tensor(vectors_of(block.column("representation"), model.dimension))


def best_unseen(model: Recommender, x: torch.Tensor, histories: Histories, top_n: int) -> tuple[np.ndarray, np.ndarray]:
    """Score the catalogue from (users, d), and give what `top_items` gives of it."""
    return top_items(scores_in_parts(model, x), histories.offsets, histories.items, top_n)


def list_columns(items: np.ndarray, scores: np.ndarray, item_ids: pa.StringArray) -> tuple[pa.ListArray, pa.ListArray]:
    """Make the columns item_ids and scores of what `top_items` gives; places without an item are left out."""
    there = scores > -np.inf
    offsets = np.zeros(len(items) + 1, dtype=np.int32)
    np.cumsum(there.sum(1), out=offsets[1:])
    ids = pa.ListArray.from_arrays(offsets, item_ids.take(pa.array(items[there])))
    return ids, pa.ListArray.from_arrays(offsets, pa.array(scores[there]))


@torch.no_grad()
def scores_in_parts(model: Recommender, x: torch.Tensor) -> Iterator[np.ndarray]:
    """Score the catalogue from (users, d), a part after the other: (users, items of the part) each."""
    if not model.dot_scored:
        yield model.score(x).float().contiguous().numpy()
        return
    embeddings = model.item_embeddings()
    width = max(PART_SCORES // max(len(x), 1), 64)
    scores = torch.empty(len(x) * width)
    for begin in range(0, len(embeddings), width):
        part = embeddings[begin : begin + width]
        yield torch.mm(x, part.T, out=scores[: len(x) * len(part)].view(len(x), -1)).numpy()


def _own_offsets(lists: pa.ListArray) -> np.ndarray:
    """Offsets into ``lists.flatten()``, which a slice of a longer array does not hold."""
    offsets = lists.offsets.to_numpy()
    return offsets - offsets[0]
