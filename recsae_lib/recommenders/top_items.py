"""The best items of a block of users, seen ones masked, by exact search in few groups of items."""

from __future__ import annotations

import math

import numpy as np
import torch

from recsae_lib.errors import InputError

NARROWEST_GROUP = 32  # items; torch's maximum over shorter runs is slow


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
