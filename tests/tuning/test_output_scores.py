"""Output scores from moments, held against effects of single items; and what random features do."""

from __future__ import annotations

import numpy as np
import pytest

from recsae_lib.tuning.output_scores import ItemMoments, null_deviations, output_scores
from recsae_lib.tuning.significance import LARGEST, STEPS, Tally, count_steps, random_deviates

RANDOM = np.random.default_rng(5)
VECTORS = (RANDOM.standard_normal((300, 6)) + np.arange(6)).astype(np.float32)
DIRECTIONS = RANDOM.standard_normal((7, 6))
CARRIED = RANDOM.random((300, 4)) < np.array([0.02, 0.1, 0.5, 0.9])
COUNTS = CARRIED.sum(0)
MEANS = np.stack([VECTORS[items].astype(np.float64).mean(0) for items in CARRIED.T])


def score_of(direction: np.ndarray, carried: np.ndarray) -> float:
    effects = [float(np.dot(vector, direction)) for vector in VECTORS.astype(np.float64)]
    with_it = [effect for effect, has in zip(effects, carried, strict=True) if has]
    without = [effect for effect, has in zip(effects, carried, strict=True) if not has]
    return (sum(with_it) / len(with_it) - sum(without) / len(without)) / float(np.std(effects))


def test_scores_from_moments_are_those_of_single_items() -> None:
    scores = output_scores(DIRECTIONS, ItemMoments.of(VECTORS, block_items=77), MEANS, COUNTS)
    expected = [[score_of(direction, carried) for carried in CARRIED.T] for direction in DIRECTIONS]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_what_tells_no_item_from_another_has_score_0() -> None:
    moments = ItemMoments.of(np.c_[VECTORS, np.full((300, 1), 2.0, np.float32)])
    directions, idle = np.c_[DIRECTIONS, np.zeros(7)], np.eye(7)[6:]
    means = np.vstack([np.c_[MEANS, np.full(4, 2.0)], moments.mean, moments.mean])
    scores = output_scores(np.vstack([directions, idle]), moments, means, np.array([*COUNTS, 300, 0]))
    assert (scores[:7, :4] != 0).all()
    assert (scores[7] == 0).all()  # e_i · direction is 2 for every item
    assert (scores[:, 4:] == 0).all()  # of all items, and of none


@pytest.mark.parametrize("feature", range(4))
def test_null_deviations_are_those_of_permutations(feature: int) -> None:
    effects = VECTORS.astype(np.float64) @ DIRECTIONS[0]
    carried = CARRIED[:, feature]
    scores = []
    for _ in range(4000):
        dealt = RANDOM.permutation(carried)
        scores.append((effects[dealt].mean() - effects[~dealt].mean()) / effects.std())
    assert np.std(scores) == pytest.approx(null_deviations(COUNTS, 300)[feature], rel=0.05)


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    random, real = RANDOM.standard_normal(999), np.concatenate([RANDOM.standard_normal(60), [3.5, -4.0, 5.0]])
    tally = Tally(count_steps(real), count_steps(random))
    steps = np.floor(np.abs(real) * STEPS)
    p_values = [(1 + sum(np.floor(np.abs(random) * STEPS) >= step)) / 1000 for step in steps]
    assert tally.p_values(real) == pytest.approx(p_values)
    rising, expected = sorted(p_values), []
    for p_value in p_values:
        expected.append(
            min(63 * later / sum(other <= later for other in p_values) for later in rising if later >= p_value)
        )
    assert tally.q_values(real) == pytest.approx(np.minimum(expected, 1.0))
    assert tally.q_values(np.array([5.0]))[0] < 0.05 < tally.q_values(np.array([2.0]))[0]


def test_scores_beyond_all_steps_count_as_the_last() -> None:
    tally = Tally(count_steps(np.array([500.0])), count_steps(np.zeros(99)))
    assert tally.real[LARGEST] == 1
    assert tally.p_values(np.array([1000.0])).tolist() == [0.01]


def test_features_dealt_out_at_random_stand_out_by_luck() -> None:
    # A few vectors are ten times as long as others: the tail of small features is far from normal.
    random = np.random.default_rng(1)
    vectors = (random.standard_normal((2000, 8)) * np.exp(random.standard_normal((2000, 1)))).astype(np.float32)
    moments, counts = ItemMoments.of(vectors), np.tile([5, 40, 1990], 20)
    directions = random.standard_normal((64, 8))
    passed = []
    for draw in range(10):
        drawn = [random.choice(2000, count, replace=False) for count in counts]
        means = np.stack([vectors[items].astype(np.float64).mean(0) for items in drawn])
        real = output_scores(directions, moments, means, counts) / null_deviations(counts, 2000)
        dealt = [random_deviates(directions, moments, vectors, counts, (draw, n)) for n in range(35)]
        tally = Tally(count_steps(real), count_steps(np.stack(dealt)))
        passed.append(int((tally.q_values(real) < 0.05).sum()))
        assert np.mean(tally.p_values(real) < 0.1) == pytest.approx(0.1, abs=0.04)
    assert sum(count > 0 for count in passed) <= 2, passed
