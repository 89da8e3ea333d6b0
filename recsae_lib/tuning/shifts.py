"""Lists under moves that are the same for all users, from the scores as they are (METHOD.md section 8).

Gain: four such tunings of all users take half the time of scoring each anew (`make bench ONLY=tuning`): the matrix
product is computed once for all. It matters for catalogues whose scores take longer than all else, from some ten
thousand items on. Delete it when nobody adds to the representations of everybody.
"""

from __future__ import annotations

import numpy as np
import torch

from recsae_lib.recommenders.protocol import Histories, Recommender
from recsae_lib.recommenders.recommend import scores_in_parts
from recsae_lib.recommenders.top_items import BestItems


@torch.no_grad()
def best_under_shifts(
    model: Recommender, x: torch.Tensor, shifts: np.ndarray, histories: Histories, top_n: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pick the best unseen items of users as they are, and of users who are all moved by the same step.

    ::

        (x + s) · e = x · e + s · e

    Parameters
    ----------
    model : dot-scored, if there are shifts.
    x : (users, d) float32.
    shifts : (S, d) float32.

    Returns
    -------
    list : what `top_items` gives of x, to the bit, then of each shift.

    Raises
    ------
    InputError : a score is NaN.
    """
    best = [BestItems(histories.offsets, histories.items, top_n) for _ in range(1 + len(shifts))]
    embeddings, steps = model.item_embeddings(), torch.from_numpy(shifts)
    begin, buffer = 0, np.empty(0, np.float32)
    for part in scores_in_parts(model, x):
        best[0].offer(part)
        if len(shifts):
            biases = torch.mm(steps, embeddings[begin : begin + part.shape[1]].T).numpy()
            buffer = buffer if buffer.shape == part.shape else np.empty_like(part)
            for of_shift, bias in zip(best[1:], biases, strict=True):
                of_shift.offer(np.add(part, bias, out=buffer))
        begin += part.shape[1]
    return [(one.items, one.scores) for one in best]
