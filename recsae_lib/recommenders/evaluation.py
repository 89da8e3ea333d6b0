"""How well held-out items are ranked over the full catalogue, leave-one-out (method.md section 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from recsae_lib.errors import InputError
from recsae_lib.recommenders.protocol import Histories, Recommender
from recsae_lib.recommenders.training_histories import TrainingHistories

CUTOFFS = (5, 10, 20, 50)
TEST, DEV = 1, 2  # held-out interactions of a user: the last is the test item, the one before it the dev item
SHORTEST_EVALUATED = 3  # interactions: context, dev item, test item
BLOCK_SCORES = 2**25  # a block of users × items holds no more, however large the catalogue
BLOCK_USERS = 1024

Scorer = Callable[[Histories], torch.Tensor]


def training_part(histories: TrainingHistories) -> TrainingHistories:
    """Leave out the last two interactions of users that are evaluated; users with fewer than three keep them all."""
    evaluated = histories.lengths >= SHORTEST_EVALUATED
    kept = np.ones(len(histories.items), dtype=bool)
    for held_out in (TEST, DEV):
        kept[histories.offsets[1:][evaluated] - held_out] = False
    lengths = histories.lengths - DEV * evaluated
    return TrainingHistories(np.concatenate([[0], np.cumsum(lengths)]), histories.items[kept], histories.item_count)


def evaluated_users(histories: TrainingHistories, count: int, seed: int) -> np.ndarray:
    """Draw up to `count` of the users with three interactions or more, (users,) int64, rising.

    Raises
    ------
    InputError : there is none.
    """
    users = np.flatnonzero(histories.lengths >= SHORTEST_EVALUATED)
    if len(users) == 0:
        raise InputError(
            f"No user has {SHORTEST_EVALUATED} interactions or more, so that no recommender can be evaluated",
            "Ingest interactions of more than a glimpse of each user",
        )
    if len(users) <= count:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, size=count, replace=False))


def held_out_ranks(score: Scorer, histories: TrainingHistories, users: np.ndarray, held_out: int) -> torch.Tensor:
    """Rank the held-out item of each user, who is scored and masked by what they did before.

    Parameters
    ----------
    score : gives (batch, item_count) scores of a batch of contexts.
    histories : whole histories.
    users : (users,) of three interactions or more.
    held_out : `TEST` or `DEV`.

    Returns
    -------
    (users,) int64 : ranks, from 1.
    """
    rows = max(1, min(BLOCK_USERS, BLOCK_SCORES // histories.item_count))
    ranks = []
    for start in range(0, len(users), rows):
        block = users[start : start + rows]
        contexts = histories.contexts(block, held_out)
        targets = histories.items[histories.offsets[block + 1] - held_out].astype(np.int64)
        ranks.append(target_ranks(score(contexts), targets, contexts.offsets, contexts.items).cpu())
    return torch.cat(ranks)


def target_ranks(
    scores: torch.Tensor, targets: np.ndarray, seen_offsets: np.ndarray, seen_items: np.ndarray
) -> torch.Tensor:
    """Rank each user's target among the items they have not seen; ties, and scores that are NaN, count against it.

    ::

        rank_b = 1 + |{i ≠ target_b, i not seen by b : not score_bi < score_b,target}|

    A target that was seen before is ranked all the same.

    Parameters
    ----------
    scores : (users, items); may be overwritten.
    targets : (users,) int64
    seen_offsets, seen_items : the items of user b are ``seen_items[seen_offsets[b]:seen_offsets[b + 1]]``; an item may
        stand there more than once.

    Returns
    -------
    (users,) int64
    """
    users, items = scores.shape
    wanted = torch.from_numpy(np.asarray(targets, dtype=np.int64)).to(scores.device).unsqueeze(1)
    ahead = scores < scores.gather(1, wanted)
    ahead.logical_not_()
    seen = np.repeat(np.arange(users), np.diff(seen_offsets)) * items + seen_items
    ahead.view(-1).index_fill_(0, torch.from_numpy(seen).to(scores.device), False)
    ahead.scatter_(1, wanted, True)  # the target itself is the 1 of the rank
    return ahead.sum(1)


def ndcg(ranks: torch.Tensor, cutoff: int) -> float:
    """Mean of 1/log₂(rank + 1) over users, 0 for ranks beyond the cut-off: one relevant item a user."""
    gains = 1.0 / torch.log2(ranks.double() + 1.0)
    return float((gains * (ranks <= cutoff)).mean())


def hit_rate(ranks: torch.Tensor, cutoff: int) -> float:
    """Share of users whose held-out item is among the first `cutoff`."""
    return float((ranks <= cutoff).double().mean())


def ranking_metrics(ranks: torch.Tensor) -> dict[str, float]:
    """HR and NDCG at each of `CUTOFFS`, named ``hr@5``, ``ndcg@5`` and so on, of (users,) ranks from 1."""
    return {
        f"{name}@{cutoff}": metric(ranks, cutoff)
        for name, metric in (("hr", hit_rate), ("ndcg", ndcg))
        for cutoff in CUTOFFS
    }


def measure_test(
    model: Recommender, histories: TrainingHistories, users: np.ndarray, device: torch.device
) -> dict[str, float]:
    """Metrics of the test items, named ``test_hr@5`` and so on, and ``popularity_hr@5`` of scoring by popularity.

    Parameters
    ----------
    model : lies on `device`.
    histories : whole histories.
    users : of three interactions or more (`evaluated_users`).
    """
    scorers = {
        "test": model_scorer(model, device),
        "popularity": popularity_scorer(training_part(histories)),
    }
    return {
        f"{prefix}_{name}": value
        for prefix, scorer in scorers.items()
        for name, value in ranking_metrics(held_out_ranks(scorer, histories, users, TEST)).items()
    }


def model_scorer(model: Recommender, device: torch.device) -> Scorer:
    """Score contexts with a recommender that lies on `device`."""

    def score(contexts: Histories) -> torch.Tensor:
        inputs = {name: tensor.to(device) for name, tensor in model.build_inputs(contexts).items()}
        return model.score(model.represent(inputs))

    return score


def popularity_scorer(train: TrainingHistories) -> Scorer:
    """Score every user alike, an item by its interactions in the training part."""
    counts = torch.from_numpy(np.bincount(train.items, minlength=train.item_count)).double()
    return lambda contexts: counts.expand(len(contexts), -1)
