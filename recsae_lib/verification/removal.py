"""Removal effect: what a recommender does without a unit (METHOD.md section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LIST_LENGTH = 20
FLIPS = 999
BLOCK_ROWS = 2048  # vectors that are scored at once

# Best items (rows, LIST_LENGTH) int64 of vectors (rows, d) for users (rows,); -1 where there is no item.
BestItems = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Removal:
    """What removing one unit does to the share of what names it in the lists of users for whom it fires.

    Parameters
    ----------
    effect : 1 − (share without the unit) / (share before); NaN where the share before is 0, or nobody is measured.
    low, high : ends of its 95 % interval over users.
    other : the same with another direction of the dictionary taken away, as far: what any push does.
    equal_dose : as `effect`, where x moves as far as dictionaries are compared at.
    p_value : chance that the own direction does no more than another one, by exchanging the two in random users.
    users : measured.
    """

    effect: float
    low: float
    high: float
    other: float
    equal_dose: float
    p_value: float
    users: int


_NONE = float("nan")
NOT_MEASURED = Removal(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, 0)


@dataclass(frozen=True)
class Moves:
    """The users of one unit, and where x goes: each (users, d) float32.

    Parameters
    ----------
    users : (users,) places of the users.
    own : x without the unit; its error is kept.
    other : x moved as far against another unit.
    equal : x moved against the unit by the dose at which dictionaries are compared.
    """

    users: np.ndarray
    own: np.ndarray
    other: np.ndarray
    equal: np.ndarray


def moves_of(
    x: np.ndarray, users: np.ndarray, activations: np.ndarray, own: np.ndarray, others: np.ndarray, doses: np.ndarray
) -> Moves:
    """Move users away from a unit.

    ::

        x' = x − z_l W_dec,l                                  own
        x' = x − z_l ‖W_dec,l‖ W_dec,m / ‖W_dec,m‖            other: m is another unit, drawn for each user
        x' = x − dose_u W_dec,l / ‖W_dec,l‖                   equal

    Parameters
    ----------
    x : (S, d) representations.
    users : (n,) those for whom the unit fires, and their activations (n,).
    own : (d,) W_dec,l.
    others : (n, d) W_dec,m.
    doses : (n,) lengths.
    """
    length = float(np.linalg.norm(own))
    direction, others = own / length, others / np.linalg.norm(others, axis=1, keepdims=True)
    at = x[users]
    return Moves(
        users,
        at - activations[:, None] * own,
        at - (activations * length)[:, None] * others,
        at - doses[:, None] * direction,
    )


def removal_effects(
    before: np.ndarray, moves: Sequence[Moves], values_of: Callable[[int], np.ndarray], best_items: BestItems, seed: int
) -> list[Removal]:
    """Measure the removal of several units; the vectors of all of them are scored in the same blocks.

    ::

        share_u   = Σ of the first 20 items' values
        effect    = 1 − Σ_u share_u(x') / Σ_u share_u(x)
        p_value   = (1 + |{flips : Σ_u ± d_u >= Σ_u d_u}|) / (1 + 999),   d_u = share_u(other) − share_u(own)

    Parameters
    ----------
    before : (S, LIST_LENGTH) best items of x, for the users that stand in `moves`.
    values_of : gives (items,) float64, how much each item carries what names the unit.
    best_items : scores vectors; seen items are left out.
    """
    wheres = [0]
    for move in moves:
        wheres.append(wheres[-1] + 3 * len(move.users))
    after = np.empty((wheres[-1], LIST_LENGTH), dtype=np.int64)
    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def score_waiting() -> None:
        if waiting:
            found = best_items(np.concatenate([w[1] for w in waiting]), np.concatenate([w[2] for w in waiting]))
            after[waiting[0][0] : waiting[0][0] + len(found)] = found
            waiting.clear()

    rows = 0
    for where, move in zip(wheres, moves, strict=False):
        vectors = np.concatenate([move.own, move.other, move.equal])
        waiting.append((where, vectors, np.tile(move.users, 3)))
        rows += len(vectors)
        if rows >= BLOCK_ROWS:
            score_waiting()
            rows = 0
    score_waiting()
    random = np.random.default_rng(seed)
    measured = []
    for unit, (where, move) in enumerate(zip(wheres, moves, strict=False)):
        values = np.append(values_of(unit), 0.0)  # the last one for places without an item
        n = len(move.users)
        own, other, equal = values[after[where : where + 3 * n]].sum(1).reshape(3, n)
        measured.append(_removal(values[before[move.users]].sum(1), own, other, equal, random))
    return measured


def _removal(
    before: np.ndarray, own: np.ndarray, other: np.ndarray, equal: np.ndarray, random: np.random.Generator
) -> Removal:
    n, whole = len(before), before.sum()
    if whole <= 0:
        return NOT_MEASURED
    kept = own.sum() / whole
    # Standard error of a ratio of sums (Cochran 1977).
    error = 1.96 * np.sqrt(np.square(own - kept * before).sum() * n / max(n - 1, 1)) / whole
    gains = other - own
    signs = random.integers(0, 2, size=(FLIPS, n), dtype=np.int8) * 2 - 1
    reached = int(np.sum(np.round(signs @ gains, 9) >= np.round(gains.sum(), 9)))
    return Removal(
        effect=1 - kept,
        low=1 - kept - error,
        high=1 - kept + error,
        other=1 - other.sum() / whole,
        equal_dose=1 - equal.sum() / whole,
        p_value=(1 + reached) / (1 + FLIPS),
        users=n,
    )
