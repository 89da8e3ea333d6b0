"""Item-kNN: what the neighbours of a user's items are. A baseline without training, for evaluation only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse

from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.training_histories import TrainingHistories

NEIGHBOURS = 100
MOST_PAIRS = 2**28  # of items of the same user that are counted: 1 to 3 minutes on one core
BLOCK_ITEMS = 1024


def item_knn_scorer(train: TrainingHistories) -> Callable[[Histories], torch.Tensor]:
    """Score items by their cosine to those of the context (Deshpande and Karypis, TOIS 2004).

    ::

        s_ij    = |U_i ∩ U_j| / √(|U_i| |U_j|)      for the 100 nearest j of i, else 0;  U_i: users of item i
        score_i = Σ_{j in the context} s_ij

    Where users have more than `MOST_PAIRS` pairs of items together, the pairs are those of a random sample of users
    (the same in every run): a baseline need not be exact, but must end.

    Parameters
    ----------
    train : training part of the histories.

    Returns
    -------
    Scorer : gives (batch, item_count) float32 scores of a batch of contexts.
    """
    similarity = _nearest(_interaction_matrix(_sampled(train)), NEIGHBOURS)

    def score(contexts: Histories) -> torch.Tensor:
        shape = (len(contexts), train.item_count)
        seen = sparse.csr_matrix((np.ones(len(contexts.items), np.float32), contexts.items, contexts.offsets), shape)
        return torch.from_numpy((seen @ similarity).toarray())

    return score


def _sampled(train: TrainingHistories) -> TrainingHistories:
    users = np.random.default_rng(0).permutation(len(train))
    affordable = np.searchsorted(np.cumsum(train.lengths[users] ** 2), MOST_PAIRS, side="right")
    if affordable >= len(train):
        return train
    kept = np.zeros(len(train), dtype=train.train_ends.dtype)
    kept[users[:affordable]] = train.train_ends[users[:affordable]]
    return TrainingHistories(train.offsets, train.items, train.item_count, kept, kept).training_part()


def _interaction_matrix(train: TrainingHistories) -> sparse.csr_matrix:
    """Users × items, 1 where the user has the item, however often."""
    ones = np.ones(len(train.items), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, train.items, train.offsets), (len(train), train.item_count))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _nearest(interactions: sparse.csr_matrix, neighbours: int) -> sparse.csr_matrix:
    """Transposed similarity: row j holds s_ij of the items i that have j among their nearest."""
    counts = np.asarray(interactions.sum(0)).ravel()
    norm = sparse.diags(np.divide(1.0, np.sqrt(counts), out=np.zeros_like(counts), where=counts > 0))
    columns = (interactions @ norm).tocsc()
    blocks = []
    for start in range(0, interactions.shape[1], BLOCK_ITEMS):
        block = (columns[:, start : start + BLOCK_ITEMS].T @ columns).tocsr()
        block.setdiag(0.0, k=start)
        block.eliminate_zeros()
        blocks.append(_largest(block, neighbours))
    return sparse.vstack(blocks, format="csr").T.tocsr().astype(np.float32)


def _largest(rows: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Keep the `count` largest values of each row, of equal ones those of the lower columns."""
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((rows.indices, -rows.data, row))
    rank = np.arange(len(row)) - np.repeat(rows.indptr[:-1], np.diff(rows.indptr))
    kept = order[rank < count]
    return sparse.csr_matrix((rows.data[kept], (row[kept], rows.indices[kept])), rows.shape)
