"""How well held-out items are ranked over the full catalogue (METHOD.md section 1), and what lists it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom

from recsae_lib.recommenders.item_knn import item_knn_scorer
from recsae_lib.recommenders.protocol import Histories, Recommender
from recsae_lib.recommenders.top_items import top_items
from recsae_lib.recommenders.training_histories import HeldOut, TrainingHistories

CUTOFFS = (5, 10, 20, 50)
LIST_LENGTH = 10  # items a list, of which coverage, popularity and Gini are measured
BLOCK_SCORES = 2**25  # a block of users × items holds no more, however large the catalogue
BLOCK_USERS = 1024
NEVER = torch.iinfo(torch.int64).max  # rank of an item that no list holds

Scorer = Callable[[Histories], torch.Tensor]


@dataclass(frozen=True)
class Rankings:
    """What a scorer made of a sample of users.

    Parameters
    ----------
    ranks : (users,) int64, of the held-out item, from 1; `NEVER` where it was seen before (`target_ranks`).
    recommended : (item_count,) int64, how many of the users have the item among their first `LIST_LENGTH`.
    """

    ranks: torch.Tensor
    recommended: np.ndarray


def held_out_ranks(score: Scorer, histories: TrainingHistories, users: np.ndarray, held_out: HeldOut) -> torch.Tensor:
    """Rank the held-out item of each user, who is scored and masked by what they did before.

    Parameters
    ----------
    score : gives (batch, item_count) scores of a batch of contexts.
    histories : whole histories.
    users : (users,) with such an item (`TrainingHistories.held_out_users`).

    Returns
    -------
    (users,) int64 : ranks, from 1.
    """
    ranks = []
    for block in _blocks(users, histories.item_count):
        contexts = histories.contexts(block, held_out)
        targets = histories.targets(block, held_out)
        ranks.append(target_ranks(score(contexts), targets, contexts.offsets, contexts.items).cpu())
    return torch.cat(ranks)


def rank_test(score: Scorer, histories: TrainingHistories, users: np.ndarray) -> Rankings:
    """Rank the test items as `held_out_ranks` does, and count what the users are recommended."""
    ranks = []
    recommended = np.zeros(histories.item_count, dtype=np.int64)
    for block in _blocks(users, histories.item_count):
        contexts = histories.contexts(block, "test")
        scores = score(contexts).cpu().float().contiguous()
        ranks.append(target_ranks(scores, histories.targets(block, "test"), contexts.offsets, contexts.items))
        items, best = top_items([scores.numpy()], contexts.offsets, contexts.items, LIST_LENGTH)
        recommended += np.bincount(items[best > -np.inf], minlength=histories.item_count)
    return Rankings(torch.cat(ranks), recommended)


def _blocks(users: np.ndarray, item_count: int) -> list[np.ndarray]:
    rows = max(1, min(BLOCK_USERS, BLOCK_SCORES // item_count))
    return [users[start : start + rows] for start in range(0, len(users), rows)]


def target_ranks(
    scores: torch.Tensor, targets: np.ndarray, seen_offsets: np.ndarray, seen_items: np.ndarray
) -> torch.Tensor:
    """Rank each user's target among the items they have not seen; ties, and scores that are NaN, count against it.

    ::

        rank_b = 1 + |{i ≠ target_b, i not seen by b : not score_bi < score_b,target}|

    A target that was seen before is masked as all seen items are: no list holds it, and its rank is `NEVER`.

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
    seers = np.repeat(np.arange(users), np.diff(seen_offsets))
    ahead.view(-1).index_fill_(0, torch.from_numpy(seers * items + seen_items).to(scores.device), False)
    ahead.scatter_(1, wanted, True)  # the target itself is the 1 of the rank
    ranks = ahead.sum(1)
    ranks[torch.from_numpy(seers[seen_items == np.asarray(targets)[seers]]).to(scores.device)] = NEVER
    return ranks


def repeated_target_share(ranks: torch.Tensor) -> float:
    """Share of users who had seen their held-out item before, so that no list could hold it."""
    return float((ranks == NEVER).double().mean())


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


def list_metrics(recommended: np.ndarray, train: TrainingHistories) -> dict[str, float]:
    """What lists of `LIST_LENGTH` items do to the catalogue, whatever their accuracy.

    ::

        catalogue_coverage = share of the catalogue's items that are in at least one list
        average_popularity = mean over all places of all lists of the item's interactions in the training part
        gini               = Σ_j (2j − n − 1) c_j / (n Σ_j c_j)      c: counts in lists, rising, of all n items;
                                                                     0 where all are shown alike, 1 where one is alone

    Parameters
    ----------
    recommended : (n,) how many lists an item is in.
    """
    popularity = np.bincount(train.items, minlength=train.item_count)
    places = recommended.sum()
    return {
        f"catalogue_coverage@{LIST_LENGTH}": float((recommended > 0).mean()),
        f"average_popularity@{LIST_LENGTH}": float(recommended @ popularity / max(places, 1)),
        f"gini@{LIST_LENGTH}": gini(recommended, train.item_count),
    }


def gini(counts: np.ndarray, item_count: int) -> float:
    """Gini coefficient of how often items stand in lists (`list_metrics`).

    Parameters
    ----------
    counts : of at least the items that stand in any; the others have 0.
    item_count : n, items of the catalogue.
    """
    rising = np.sort(counts)
    places = 2 * np.arange(item_count - len(rising) + 1, item_count + 1) - item_count - 1
    return float(places @ rising / max(item_count * rising.sum(), 1))


def measure_test(
    model: Recommender,
    histories: TrainingHistories,
    users: np.ndarray,
    device: torch.device,
    known: np.ndarray | None = None,
) -> dict[str, float]:
    """Metrics of the test items and of the lists: ``test_hr@5``, ``test_gini@10`` and so on; beside the model
    ``popularity_…`` and ``item_knn_…``, two baselines that nobody should fall behind. ``popularity_p_value@10`` is the
    chance that a draw of lists hits as few test items: small where the order of interactions is none in time.
    ``test_repeated_target_share`` of the users had seen their test item before; it is a miss of all three.

    Parameters
    ----------
    model : lies on `device`.
    histories : whole histories.
    users : with a test item (`TrainingHistories.held_out_users`).
    known : as `catalogue_scorer`; None where the model knows all items of the histories.
    """
    train = histories.training_part()
    score = model_scorer(model, device)
    scorers = {
        "test": score if known is None or known.all() else catalogue_scorer(score, model.history_length, known),
        "popularity": popularity_scorer(train),
        "item_knn": item_knn_scorer(train),
    }
    metrics: dict[str, float] = {}
    for prefix, scorer in scorers.items():
        rankings = rank_test(scorer, histories, users)
        values = {**ranking_metrics(rankings.ranks), **list_metrics(rankings.recommended, train)}
        metrics.update({f"{prefix}_{name}": value for name, value in values.items()})
    repeated = repeated_target_share(rankings.ranks)  # the same of all three: the items decide it, not the scores
    metrics["test_repeated_target_share"] = repeated
    hits, drawn = round(metrics[f"popularity_hr@{LIST_LENGTH}"] * len(users)), min(1.0, LIST_LENGTH / train.item_count)
    within_reach = round((1 - repeated) * len(users))
    metrics[f"popularity_p_value@{LIST_LENGTH}"] = float(binom.cdf(hits, within_reach, drawn))
    return metrics


def model_scorer(model: Recommender, device: torch.device) -> Scorer:
    """Score contexts with a recommender that lies on `device`."""

    def score(contexts: Histories) -> torch.Tensor:
        inputs = {name: tensor.to(device) for name, tensor in model.build_inputs(contexts).items()}
        return model.score(model.represent(inputs))

    return score


def catalogue_scorer(score: Scorer, history_length: int | None, known: np.ndarray) -> Scorer:
    """Score a whole catalogue with a recommender that knows a part of it: all other items come last, and contexts are
    read without them. A user without a known item of a context that the model reads gets no recommendation.

    Parameters
    ----------
    score : of the known items.
    history_length : of the model; None where it reads no items.
    known : (catalogue,) bool; item indices of the model count these.
    """
    places, columns = np.cumsum(known) - 1, torch.from_numpy(known)

    def score_all(contexts: Histories) -> torch.Tensor:
        kept = known[contexts.items]
        offsets = np.concatenate([[0], np.cumsum(kept)])[contexts.offsets]
        readable = np.flatnonzero((np.diff(offsets) > 0) | (history_length is None))
        ends = np.concatenate([[0], np.cumsum(np.diff(offsets)[readable])])
        scores = torch.full((len(contexts), len(known)), -torch.inf)
        if len(readable):
            of_known = score(Histories(contexts.user_indices[readable], ends, places[contexts.items[kept]]))
            block = torch.full((len(readable), len(known)), -torch.inf)
            block[:, columns] = of_known.cpu().float()
            scores[torch.from_numpy(readable)] = block
        return scores

    return score_all


def popularity_scorer(train: TrainingHistories) -> Scorer:
    """Score every user alike, an item by its interactions in the training part."""
    counts = torch.from_numpy(np.bincount(train.items, minlength=train.item_count)).double()
    return lambda contexts: counts.expand(len(contexts), -1)
