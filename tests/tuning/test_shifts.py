from __future__ import annotations

import numpy as np
import torch

from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.recommend import best_unseen
from recsae_lib.tuning.shifts import best_under_shifts

USERS, ITEMS, D, TOP_N = 64, 9_000, 8, 6  # parts of 4,096, 4,096 and 808 items


def test_shifted_lists_are_those_of_a_full_sort() -> None:
    torch.manual_seed(5)
    model, random = BprMf(USERS, ITEMS, D).eval(), np.random.default_rng(5)
    seen = random.integers(0, ITEMS, (USERS, 30))
    histories = Histories(np.arange(USERS), np.arange(USERS + 1) * 30, seen.ravel())
    x = model.represent(model.build_inputs(histories))
    shifts = (random.standard_normal((2, D)) / 30).astype(np.float32)
    base, *shifted = best_under_shifts(model, x, shifts, histories, TOP_N)
    for found, expected in zip(base, best_unseen(model, x, histories, TOP_N), strict=True):
        assert np.array_equal(found, expected)
    vectors = model.item_embeddings().double().numpy()
    for shift, (items, scores) in zip(shifts, shifted, strict=True):
        of_all = (x.double().numpy() + shift) @ vectors.T
        np.put_along_axis(of_all, seen, -np.inf, axis=1)
        assert np.array_equal(items, np.argsort(-of_all, axis=1)[:, :TOP_N])
        np.testing.assert_allclose(scores, np.take_along_axis(of_all, items, axis=1), rtol=1e-5, atol=1e-9)
        assert (items != base[0]).any(1).mean() > 0.9
    assert (items >= 8_192).any(), "some are of the last part"
    assert len(best_under_shifts(model, x, shifts[:0], histories, TOP_N)) == 1
