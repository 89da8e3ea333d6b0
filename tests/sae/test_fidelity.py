from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from recsae_lib.errors import InputError
from recsae_lib.representations.held_out import HeldOutUsers
from recsae_lib.sae.fidelity import Fidelity, measure_fidelity
from recsae_lib.sae.model import SparseAutoencoder

USERS, ITEMS, DIMENSION = 40, 60, 6


def world() -> tuple[SimpleNamespace, list[HeldOutUsers]]:
    """A recommender that scores by dot product, and users in blocks of unequal size."""
    random = np.random.default_rng(5)
    items = torch.from_numpy(random.standard_normal((ITEMS, DIMENSION)).astype(np.float32))
    x = random.standard_normal((USERS, DIMENSION)).astype(np.float32)
    blocks = []
    for start, stop in ((0, 16), (16, 17), (17, USERS)):
        seen = [random.choice(ITEMS, size=random.integers(0, 5), replace=False) for _ in range(start, stop)]
        targets = np.array([next(i for i in random.permutation(ITEMS) if i not in items) for items in map(set, seen)])
        offsets = np.cumsum([0, *map(len, seen)])
        blocks.append(HeldOutUsers(torch.from_numpy(x[start:stop]), targets, offsets, np.concatenate(seen)))
    return SimpleNamespace(score=lambda x: x @ items.T, items=items.numpy()), blocks


def plain_ndcg_at_10(scores: np.ndarray, users: HeldOutUsers) -> list[float]:
    """scikit-learn's NDCG of each user's unseen items, where only the target is relevant."""
    values = []
    for user, target in enumerate(users.targets):
        seen = users.seen_items[users.seen_offsets[user] : users.seen_offsets[user + 1]]
        unseen = np.setdiff1d(np.arange(ITEMS), seen)
        values.append(ndcg_score([unseen == target], [scores[user, unseen]], k=10))
    return values


def exact_sae() -> SparseAutoencoder:
    both_signs = torch.cat([torch.eye(DIMENSION), -torch.eye(DIMENSION)])
    return SparseAutoencoder(
        both_signs, torch.zeros(2 * DIMENSION), both_signs.clone(), torch.zeros(DIMENSION), DIMENSION
    )


def test_a_perfect_reconstruction_keeps_everything() -> None:
    recommender, blocks = world()
    fidelity = measure_fidelity(exact_sae(), recommender, blocks)
    assert fidelity.reconstructed == fidelity.original
    assert set(fidelity.kept().values()) == {1.0}
    assert fidelity.overlap == 1.0


def test_rankings_before_and_after_the_sae_agree_with_sklearn() -> None:
    recommender, blocks = world()
    sae = SparseAutoencoder.initialise(torch.cat([users.representations for users in blocks]), 24, 2, seed=3)
    fidelity = measure_fidelity(sae, recommender, blocks)
    expected: dict[str, list[float]] = {"original": [], "reconstructed": []}
    overlaps = []
    for users in blocks:
        x = users.representations
        expected["original"] += plain_ndcg_at_10(x.numpy() @ recommender.items.T, users)
        expected["reconstructed"] += plain_ndcg_at_10(sae(x).detach().numpy() @ recommender.items.T, users)
        for user in range(len(x)):
            seen = users.seen_items[users.seen_offsets[user] : users.seen_offsets[user + 1]]
            tops = []
            for row in (x[user], sae(x)[user].detach()):
                scores = row.numpy() @ recommender.items.T
                scores[seen] = -np.inf
                tops.append(set(np.argsort(-scores)[:10].tolist()))
            overlaps.append(len(tops[0] & tops[1]) / 10)
    assert 0.1 < fidelity.overlap < 0.9
    assert fidelity.overlap == pytest.approx(np.mean(overlaps))
    assert fidelity.original["ndcg@10"] == pytest.approx(np.mean(expected["original"]))
    assert fidelity.reconstructed["ndcg@10"] == pytest.approx(np.mean(expected["reconstructed"]))
    assert fidelity.kept()["ndcg@10"] == pytest.approx(
        np.mean(expected["reconstructed"]) / np.mean(expected["original"])
    )


def test_targets_seen_before_are_missed_by_both() -> None:
    """Half of the users get their best item twice: nobody hits it, whatever x or x̂ says."""
    recommender, blocks = world()
    first = blocks[0]
    best = (first.representations @ torch.from_numpy(recommender.items.T)).argmax(1).numpy()
    half, nobody = len(best) // 2, np.array([], dtype=np.int64)
    all_new = HeldOutUsers(first.representations, best, np.zeros(len(best) + 1, dtype=np.int64), nobody)
    offsets = np.minimum(np.arange(len(best) + 1), half)
    repeated = HeldOutUsers(first.representations, best, offsets, best[:half])
    assert measure_fidelity(exact_sae(), recommender, [all_new]).original["ndcg@10"] == 1.0
    fidelity = measure_fidelity(exact_sae(), recommender, [repeated])
    assert fidelity.repeated_targets == fidelity.original["ndcg@10"] == fidelity.reconstructed["ndcg@10"] == 0.5
    assert fidelity.kept()["ndcg@10"] == 1.0


def test_what_was_never_there_cannot_be_kept() -> None:
    assert Fidelity({"hr@5": 0.0, "hr@10": 0.5}, {"hr@5": 0.1, "hr@10": 0.25}, 0.4, 0.0).kept() == {"hr@10": 0.5}


def test_nobody_held_out_and_another_dimension_are_refused() -> None:
    recommender, blocks = world()
    nobody: Iterator[HeldOutUsers] = iter(())
    with pytest.raises(InputError, match="No user is held out"):
        measure_fidelity(exact_sae(), recommender, nobody)
    smaller = SparseAutoencoder.initialise(torch.randn(9, 4), 8, 2, seed=1)
    with pytest.raises(InputError, match="have 6 dimensions, the SAE takes 4"):
        measure_fidelity(smaller, recommender, blocks)


def test_all_figures_of_fidelity_have_a_name() -> None:
    assert Fidelity({"hr@5": 0.5}, {"hr@5": 0.25}, 0.4, 0.125).by_name() == {
        "original_hr@5": 0.5,
        "reconstructed_hr@5": 0.25,
        "hr@5_kept": 0.5,
        "overlap@10": 0.4,
        "reconstructed_repeated_target_share": 0.125,
    }
