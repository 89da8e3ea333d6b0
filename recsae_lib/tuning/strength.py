"""How far to move: strengths are chosen on dev users, by what they do to the lists (METHOD.md section 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import gains, overlaps

DOUBLINGS = 14
HALVINGS = 9
LEAST_OVERLAP = 0.3  # where the ladder of strengths ends


@dataclass(frozen=True)
class Outcome:
    """What a strength does to the lists of dev users: the share that stays, and the share of NDCG@10 that is kept."""

    overlap: float
    ndcg_kept: float


class Listing(Protocol):
    """What makes lists at a strength."""

    @property
    def name(self) -> str:
        """Name in the rows of tuning_effects."""
        ...

    @property
    def most(self) -> float:
        """The largest strength that means something."""
        ...

    def lists(self, recommender: Recommender, users: Users, strength: float) -> np.ndarray:
        """Lists of users at a strength, (S, N)."""
        ...

    def unit(self, users: Users, recommender: Recommender) -> float:
        """A strength that moves users a little; 0 if the method never moves anything."""
        ...


class StrengthSearch:
    """Finds strengths of one method; each strength is tried once.

    Parameters
    ----------
    method : what is moved.
    recommender : scores.
    users : dev users whom it moves.
    before : their lists without it.
    """

    def __init__(self, method: Listing, recommender: Recommender, users: Users, before: np.ndarray) -> None:
        self.method, self.recommender, self.users, self.before = method, recommender, users, before
        self.tried: dict[float, Outcome] = {0.0: Outcome(1.0, 1.0)}
        self._gain = float(gains(before, users.targets).sum())
        self._climb()

    def at(self, strength: float) -> Outcome:
        """What a strength does."""
        if strength not in self.tried:
            lists = self.method.lists(self.recommender, self.users, strength)
            kept = float(gains(lists, self.users.targets).sum()) / self._gain if self._gain > 0 else float("nan")
            self.tried[strength] = Outcome(float(overlaps(lists, self.before).mean()), kept)
        return self.tried[strength]

    def for_overlap(self, overlap: float) -> float:
        """The strength at which about this share of the lists stays; the largest there is if none goes so far."""
        below, above = self._around(lambda outcome: outcome.overlap >= overlap)
        best = min((below, above), key=lambda s: abs(self.at(s).overlap - overlap))
        for _ in range(HALVINGS):
            middle = (below + above) / 2
            if middle in (below, above):
                break
            if abs(self.at(middle).overlap - overlap) < abs(self.at(best).overlap - overlap):
                best = middle
            below, above = (middle, above) if self.at(middle).overlap >= overlap else (below, middle)
        return best

    def for_ndcg(self, kept: float) -> float:
        """The largest strength before NDCG@10 falls below this share of what it was; 0 if there is none."""
        if self._gain <= 0:
            return 0.0
        below, above = self._around(lambda outcome: outcome.ndcg_kept >= kept)
        if self.at(above).ndcg_kept >= kept:
            return above
        for _ in range(HALVINGS):
            middle = (below + above) / 2
            if middle in (below, above):
                break
            below, above = (middle, above) if self.at(middle).ndcg_kept >= kept else (below, middle)
        return below

    def _climb(self) -> None:
        """Try rising strengths until little of the lists stays."""
        strength = min(self.method.unit(self.users, self.recommender), self.method.most)
        for _ in range(DOUBLINGS):
            if strength <= 0 or self.at(strength).overlap < LEAST_OVERLAP or strength >= self.method.most:
                return
            strength = min(2 * strength, self.method.most)

    def _around(self, is_within: Callable[[Outcome], bool]) -> tuple[float, float]:
        """The last strength before the first that is not within, and that one; twice the largest if all are."""
        ladder = sorted(self.tried)
        within = [is_within(self.tried[s]) for s in ladder]
        if all(within):
            return ladder[-1], ladder[-1]
        first = within.index(False)
        return ladder[max(first - 1, 0)], ladder[first]
