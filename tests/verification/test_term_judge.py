"""The term scorer: levels, scores, thresholds and verdicts against plain computations and literals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score

from recsae_lib.verification.term_judge import Sides, auc, best_threshold, judge_unit, sides, user_scores

POSITIVE, NEGATIVE, HARD, NEITHER = "positive", "negative", "hard", "neither"


def who_is(*kinds: str) -> Sides:
    """Hard negatives are negatives."""
    named = np.array(kinds)
    return Sides(named == POSITIVE, np.isin(named, [NEGATIVE, HARD]), named == HARD)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), users=st.integers(1, 40), minimum_level=st.integers(1, 10))
def test_sides_are_those_of_the_level(seed: int, users: int, minimum_level: int) -> None:
    random = np.random.default_rng(seed)
    z = np.where(random.random((users, 3)) < 0.6, random.integers(1, 6, (users, 3)), 0).astype(float)
    near = random.random((users, 3)) < 0.3
    who = sides(sparse.csc_matrix(z), near, minimum_level)
    for unit in range(3):
        fired = z[:, unit][z[:, unit] > 0]
        for user, value in enumerate(z[:, unit]):
            level = 1 + 10 * int((fired < value).sum()) // len(fired) if value else 0
            assert who.positive[user, unit] == (level >= minimum_level)
            assert who.negative[user, unit] == (value == 0)
            assert who.hard[user, unit] == (value == 0 and near[user, unit])


def test_scores_by_hand_and_in_any_order() -> None:
    # Terms 0 and 1 name unit 0, term 2 names unit 1 and weighs against it; term 3 is nobody's.
    counts = sparse.csr_matrix(np.array([[2, 1, 9, 4], [0, 0, 0, 7], [1, 1, 1, 0]]))
    places, units, weights = np.array([0, 1, 2]), np.array([0, 0, 1]), np.array([0.3, 0.1, -0.5])
    scores = user_scores(counts, np.array([2, 1, 4]), places, units, weights)
    assert scores == pytest.approx(np.array([[0.3 + 0.1 * 0.5**0.5, -0.5 * 4.5**0.5], [0.0, 0.0], [0.2, -0.25]]))
    order = np.array([2, 1, 0])
    assert np.array_equal(user_scores(counts, np.array([2, 1, 4]), places[order], units[order], weights[order]), scores)
    nothing = np.empty(0, np.int64)
    assert user_scores(counts, np.ones(3), nothing, nothing, np.empty(0)).shape == (3, 0)


def confidence(who: Sides, scores: np.ndarray, threshold: float) -> float:
    """The weights of METHOD.md, user by user: half for positives, a quarter for all negatives and for hard ones."""
    weights = np.zeros(len(scores))
    weights[who.positive] += 0.5 / who.positive.sum()
    for side in (who.negative, who.hard if who.hard.any() else who.negative):
        weights[side] += 0.25 / side.sum()
    return float(weights[(scores > threshold) == who.positive].sum())


KINDS = st.sampled_from([POSITIVE, NEGATIVE, HARD, NEITHER])


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.lists(st.tuples(KINDS, st.integers(0, 12)), max_size=14))
def test_no_threshold_is_better_than_the_chosen_one(users: list[tuple[str, int]]) -> None:
    users = [*users, (POSITIVE, 3), (NEGATIVE, 2)]
    who, scores = who_is(*(kind for kind, _ in users)), np.array([score for _, score in users]) / 8
    best = max(confidence(who, scores, n / 16) for n in range(-1, 26))
    assert confidence(who, scores, best_threshold(who, scores)) == pytest.approx(best, abs=1e-9)


def test_thresholds_and_their_ties() -> None:
    yes, no = POSITIVE, NEGATIVE
    scored = {
        "middle": [(yes, 0.9), (yes, 0.7), (no, 0.3), (no, 0.1)],
        "wider gap": [(yes, 1.0), (no, 0.75), (yes, 0.5), (no, 0.0)],  # 0.25 and 0.875 are as good
        "higher": [(yes, 0.75), (no, 0.5), (yes, 0.25), (no, 0.0)],  # gaps alike
        "nothing apart": [(yes, 0.0), (no, 0.0)],
        "no negative": [(yes, 0.5)],
        "no positive": [(no, 0.5)],
        "backwards": [(yes, 0.2), (no, 0.8)],
        "halves weigh the same": [(yes, 0.9), (yes, 0.2), *[(no, 0.5)] * 5, (no, 0.1)],
        "hard ones weigh more": [(yes, 0.9), (yes, 0.4), (HARD, 0.5), *[(no, 0.1)] * 9],  # else 0.25
        "others do not count": [(yes, 1.0), (NEITHER, 0.9), (no, 0.0)],
    }
    found = {
        name: best_threshold(who_is(*(kind for kind, _ in users)), np.array([score for _, score in users]))
        for name, users in scored.items()
    }
    assert found == {
        "middle": pytest.approx(0.5),
        "wider gap": 0.25,
        "higher": 0.625,
        "nothing apart": 0.0,
        "no negative": math.inf,
        "no positive": math.inf,
        "backwards": 0.8,
        "halves weigh the same": pytest.approx(0.7),
        "hard ones weigh more": pytest.approx(0.7),
        "others do not count": 0.5,
    }


def test_a_verdict_by_hand() -> None:
    kinds = [POSITIVE] * 5 + [NEGATIVE] * 3 + [HARD] * 5 + [NEITHER] * 3
    scores = np.array([9, 9, 9, 9, 1, 0, 0, 9, 9, 2, 0, 0, 0, 9, 9, 0], dtype=float)
    verdict = judge_unit(who_is(*kinds), scores, 5.0)
    # Of 8 negatives 2 are said to fire, of 5 hard ones 1.
    assert (verdict.recall, verdict.hard_specificity) == (0.8, 0.8)
    assert verdict.specificity == (6 / 8 + 4 / 5) / 2
    assert verdict.precision == 4 / 6
    assert verdict.confidence == (0.8 + 0.775) / 2
    assert verdict.cases == 13
    squares = 5 * (1 / 10) ** 2 + 3 * (1 / 32) ** 2 + 5 * (1 / 32 + 1 / 20) ** 2
    assert verdict.effective_cases == pytest.approx(1 / squares)
    # A 9 exceeds five zeros and the 2, and ties with two; the 1 exceeds five zeros.
    assert (verdict.auc, verdict.hard_auc) == ((4 * 7 + 5) / 40, (4 * 4.5 + 3) / 25)
    plain = judge_unit(who_is(*[POSITIVE] * 5, *[NEGATIVE] * 20), np.zeros(25), 0.0)
    assert (plain.recall, plain.specificity, plain.confidence, plain.auc) == (0.0, 1.0, 0.5, 0.5)
    assert plain.effective_cases == pytest.approx(1 / (5 * 0.1**2 + 20 * 0.025**2))  # 16
    assert math.isnan(plain.hard_auc)
    assert math.isnan(plain.precision)


@pytest.mark.parametrize("kind", [POSITIVE, NEGATIVE])
def test_one_side_alone_is_no_verdict(kind: str) -> None:
    verdict = judge_unit(who_is(kind, kind), np.array([1.0, 0.0]), 0.5)
    assert math.isnan(verdict.confidence)
    assert math.isnan(verdict.effective_cases)
    assert math.isnan(verdict.auc)
    assert verdict.cases == 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_the_auc_is_scikit_learns(positives: list[int], negatives: list[int]) -> None:
    fires = [1] * len(positives) + [0] * len(negatives)
    assert auc(np.array(positives), np.array(negatives)) == pytest.approx(roc_auc_score(fires, positives + negatives))
