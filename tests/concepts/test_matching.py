from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from recsae_lib.concepts import matching
from recsae_lib.concepts.matching import (
    Followed,
    SimilarPairs,
    follow_latents,
    match_one_to_one,
    nearest_pairs,
    similar_directions,
)


def unit(*rows: list[float]) -> np.ndarray:
    directions = np.array(rows, dtype=np.float32)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def followed(previous: np.ndarray, now: np.ndarray, minimum: float = 0.7) -> list[tuple[str, int, int]]:
    """Match all rows of two dictionaries and return (fate, previous, latent)."""
    before, after = np.arange(len(previous)), np.arange(len(now))
    pairs = similar_directions(previous, before, now, after, minimum)
    return [row[:3] for row in follow_latents(before, after, pairs)]


def test_permuted_latents_find_each_other() -> None:
    previous = unit([1, 0, 0], [0, 1, 0], [0, 0, 1])
    assert followed(previous, previous[[2, 0, 1]]) == [("matched", 0, 1), ("matched", 1, 2), ("matched", 2, 0)]


def test_a_new_direction_is_born_and_one_not_continued_is_gone() -> None:
    previous, now = unit([1, 0, 0], [0, 1, 0]), unit([0, 0, 1], [1, 0.1, 0])
    assert followed(previous, now) == [("matched", 0, 1), ("born", -1, 0), ("gone", 1, -1)]


def test_the_nearer_half_continues_the_latent_the_other_is_split() -> None:
    previous, now = unit([1, 0, 0], [0, 0, 1]), unit([1, 0.6, 0], [1, -0.4, 0], [0, 0, 1])
    pairs = similar_directions(previous, np.arange(2), now, np.arange(3), 0.7)
    rows = follow_latents(np.arange(2), np.arange(3), pairs)
    assert [row[:3] for row in rows] == [("matched", 0, 1), ("matched", 1, 2), ("split", 0, 0)]
    assert [row.similarity for row in rows] == [0.928477, 1.0, 0.857493]  # 1/√1.16 and 1/√1.36
    assert followed(now, previous) == [("matched", 1, 0), ("matched", 2, 1), ("merged", 0, 0)]


def test_what_is_split_off_stands_with_the_most_similar_latent() -> None:
    previous, now = unit([1, 0], [0, 1]), unit([1, 0], [0, 1], [0.68, 0.73])
    assert followed(previous, now, minimum=0.6) == [("matched", 0, 0), ("matched", 1, 1), ("split", 1, 2)]
    assert followed(now, previous, minimum=0.6) == [("matched", 0, 0), ("matched", 1, 1), ("merged", 2, 1)]


def test_the_total_is_maximal_not_each_choice() -> None:
    # Taking the best pair first (0.99) would leave 1 and 0 without partners: 0.99 against 0.9 + 0.9.
    pairs = SimilarPairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.9, 0.99, 0.9]))
    assert match_one_to_one(pairs).tolist() == [True, False, True]


def test_equally_similar_latents_keep_their_ids() -> None:
    same = unit(*[[1.0, 0.0]] * 4)
    assert followed(same, same) == [("matched", n, n) for n in range(4)]
    pairs = similar_directions(same, np.array([1, 2]), same, np.array([0, 1, 2]), 0.7)
    rows = follow_latents(np.array([1, 2]), np.array([0, 1, 2]), pairs)
    assert [row[:3] for row in rows] == [("matched", 1, 1), ("matched", 2, 2), ("split", 1, 0)]
    # One fewer now: the last one is merged into a latent that is as similar, the one of the lowest id.
    assert followed(same, same[:3]) == [*(("matched", n, n) for n in range(3)), ("merged", 3, 0)]


def test_only_live_latents_are_matched() -> None:
    directions = unit([1, 0, 0], [0, 1, 0], [0, 0, 1])
    pairs = similar_directions(directions, np.array([0, 2]), directions, np.array([1, 2]), 0.7)
    assert follow_latents(np.array([0, 2]), np.array([1, 2]), pairs) == [
        Followed("matched", 2, 2, 1.0),
        Followed("born", -1, 1, pytest.approx(np.nan, nan_ok=True)),
        Followed("gone", 0, -1, pytest.approx(np.nan, nan_ok=True)),
    ]


def test_a_similarity_of_exactly_the_minimum_is_enough() -> None:
    assert followed(unit([1, 0]), unit([0.6, 0.8]), minimum=0.6) == [("matched", 0, 0)]
    assert followed(unit([1, 0]), unit([0.6, 0.8]), minimum=0.61) == [("born", -1, 0), ("gone", 0, -1)]


def test_without_latents_there_is_nothing_to_follow() -> None:
    none, one = np.zeros((0, 2), dtype=np.float32), unit([1, 0])
    assert followed(none, none) == []
    assert followed(none, one) == [("born", -1, 0)]
    assert followed(one, none) == [("gone", 0, -1)]


@pytest.mark.parametrize("dense_pairs", [matching.DENSE_PAIRS, 0], ids=["matrix", "sparse"])
def test_both_solvers_find_the_greatest_possible_total(dense_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "DENSE_PAIRS", dense_pairs)
    random = np.random.default_rng(5)
    for _ in range(40):
        similarities = np.where(random.random((5, 6)) < 0.6, random.integers(700, 1000, (5, 6)) / 1000, 0.0)
        previous, latents = np.nonzero(similarities)
        pairs = SimilarPairs(previous, latents, similarities[previous, latents])
        chosen = match_one_to_one(pairs)
        assert len(set(previous[chosen])) == len(set(latents[chosen])) == chosen.sum()
        best = max(
            sum(similarities[row, column] for row, column in enumerate(columns))
            for columns in itertools.permutations(range(6), 5)
        )
        assert pairs.similarities[chosen].sum() == pytest.approx(best)


def test_a_crowded_latent_keeps_its_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "NEAREST", 2)
    pairs = nearest_pairs(
        np.array([7, 7, 7, 4, 7]), np.array([1, 2, 7, 9, 0]), np.array([0.9, 0.95, 0.8999999, 0.8, 0.9])
    )
    assert [part.tolist() for part in pairs] == [[4, 7, 7], [9, 2, 7], [0.8, 0.95, 0.9]]


@pytest.mark.integration
def test_65536_latents_are_matched_in_blocks() -> None:
    random = np.random.default_rng(1)
    latents = 65_536
    previous = unit(*random.standard_normal((latents, 16)))
    moved = random.permutation(latents)
    now = previous[moved] + 0.02 * random.standard_normal((latents, 16)).astype(np.float32)
    now /= np.linalg.norm(now, axis=1, keepdims=True)
    tracemalloc.start()
    pairs = similar_directions(previous, np.arange(latents), now, np.arange(latents), 0.97)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = follow_latents(np.arange(latents), np.arange(latents), pairs)
    assert peak < latents * latents / 8  # bytes: a bit for each pair would take as much
    right = sum(row.fate == "matched" and moved[row.latent] == row.previous for row in rows)
    assert right > 0.99 * latents
