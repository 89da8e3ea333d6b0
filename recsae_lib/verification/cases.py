"""Verification cases: the held-out users on whom the description of a unit is tried one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsae_lib.verification.term_judge import Sides

KINDS = ("positive", "random", "hard")


class Cases(NamedTuple):
    """The drawn cases of one unit.

    Parameters
    ----------
    users : (cases,) places of the users.
    kinds : (cases,) places in `KINDS`.
    """

    users: np.ndarray
    kinds: np.ndarray


def draw_cases(who: Sides, draws: np.ndarray, unit: int, per_kind: int) -> Cases:
    """Draw n positive and n negative users of a unit (METHOD.md section 6; RecSAE 2411.06112).

    Half of the negatives are random and half hard. Where one of the two sides is short of n, the other is cut to the
    same number, so that always saying "fires" is right for half of the cases; where one sort of negatives is short, the
    other fills up, and of an odd number the random ones are one more. A unit without a positive or without a negative
    has no cases, and no user stands twice.

    Everybody is drawn by the order of a hash, not by activation (the reference takes the ten strongest): the score then
    holds for all users that the unit fires for, and a user who comes or goes changes no more than one case.

    Parameters
    ----------
    who : of the unit, (S,) users.
    draws : (S,) int64 hashes of the users.
    unit : id of the unit, which has an order of its own.
    per_kind : n.
    """
    order = np.lexsort((draws, mixed(draws, unit)))
    positives, negatives, hards = (order[side[order]] for side in (who.positive, who.negative, who.hard))
    n = min(per_kind, len(positives), len(negatives))
    hard_cases = hards[: n // 2]
    # Any negative may be a random one; there are always enough of them, as hard ones are negatives.
    random_cases = negatives[~np.isin(negatives, hard_cases)][: n - len(hard_cases)]
    users = np.concatenate([positives[:n], random_cases, hard_cases])
    return Cases(users, np.repeat([0, 1, 2], [n, len(random_cases), len(hard_cases)]))


def mixed(draws: np.ndarray, unit: int) -> np.ndarray:
    """Hashes of (user, unit): the finaliser of MurmurHash3 over the user's hash and a multiple of the unit's id."""
    with np.errstate(over="ignore"):
        bits = draws.view(np.uint64) ^ (np.uint64(unit + 1) * np.uint64(0x9E3779B97F4A7C15))
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(factor)
        mixed: np.ndarray = bits ^ (bits >> np.uint64(33))
    return mixed
