"""What a tuning does to the lists of held-out users, beside every control (METHOD.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.list_metrics import Figure, ListMeter
from recsae_lib.tuning.lists import best_lists
from recsae_lib.tuning.methods import Method, methods_of, moves_anything
from recsae_lib.tuning.moves import Move, ResolvedTuning
from recsae_lib.tuning.resolve import move_of, subject_of
from recsae_lib.tuning.strength import StrengthSearch
from recsae_lib.tuning.world import World

DEFAULT_OVERLAP = 0.7
NDCG_KEPT = 0.95  # where methods are compared at equal accuracy
UNTUNED = "untuned"

Comparison = Literal["overlap", "ndcg"]


@dataclass(frozen=True)
class Effect:
    """One row of tuning_effects.

    Parameters
    ----------
    method : of `methods_of`, or `UNTUNED`.
    comparison : what is equal for all methods on dev users: the share of the lists that stays, or of NDCG@10 kept.
    strength : of the method, in its own unit; of the SAE m or a. None of `UNTUNED`.
    metric, value, low, high : on test users, with the ends of the 95 % interval; None where it cannot be measured.
    """

    method: str
    comparison: Comparison
    strength: float | None
    metric: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MeasuredTuning:
    """A tuning, how it is carried out, and what it does.

    Parameters
    ----------
    resolved : latents and strength.
    subject : what it is about, in words.
    overlap : share of the dev users' lists that stays.
    users : test users whom it can move.
    effects : rows.
    """

    resolved: ResolvedTuning
    subject: str
    overlap: float
    users: int
    effects: list[Effect]


def measure_tuning(tuning: TuningSettings, world: World) -> MeasuredTuning:
    """Resolve a tuning, choose the strengths of all methods on dev users, and measure them on test users.

    Raises
    ------
    InputError : it names something unknown.
    """
    subject = subject_of(tuning, world)
    move = move_of(tuning, subject, world)
    own, *controls = methods_of(tuning, move, subject, world)
    dev, test = (users.take(np.flatnonzero(moves_anything(move, users, world))) for users in (world.dev, world.test))
    if not len(dev):
        raise InputError(
            f"tuning {tuning.name}: its latents fire for none of the held-out users", "Turn others, or use mode add"
        )
    before = best_lists(world.recommender, dev, dev.x)
    search = StrengthSearch(own, world.recommender, dev, before)
    if tuning.strength is None:
        chosen = search.for_overlap(tuning.overlap or DEFAULT_OVERLAP)
    else:
        chosen = abs(tuning.strength - move.neutral)
    overlap = search.at(chosen).overlap
    resolved = ResolvedTuning(tuning.name, move, stated_strength(tuning, move, chosen))
    if not len(test):
        return MeasuredTuning(resolved, subject.title, overlap, 0, [])
    lists_before = best_lists(world.recommender, test, test.x)
    meter = ListMeter(test, lists_before, world.catalogue, subject.carriers, subject.place, world.seed)
    unchanged = meter.measure(lists_before)
    effects = [*_rows(UNTUNED, "overlap", None, unchanged), *_rows(UNTUNED, "ndcg", None, unchanged)]

    def add(method: Method, comparison: Comparison, strength: float) -> None:
        stated = stated_strength(tuning, move, strength) if method is own else strength
        effects.extend(
            _rows(method.name, comparison, stated, meter.measure(method.lists(world.recommender, test, strength)))
        )

    add(own, "overlap", chosen)
    add(own, "ndcg", search.for_ndcg(NDCG_KEPT))
    for method in controls:
        search = StrengthSearch(method, world.recommender, dev, before)
        add(method, "overlap", search.for_overlap(overlap))
        add(method, "ndcg", search.for_ndcg(NDCG_KEPT))
    if tuning.debias is not None:
        effects += _rows(own.name, "overlap", resolved.strength, _effect_size(move, test, world))
    return MeasuredTuning(resolved, subject.title, overlap, len(test), effects)


def stated_strength(tuning: TuningSettings, move: Move, distance: float) -> float:
    """m or a of a distance from the strength that changes nothing, in the direction of the tuning."""
    return move.neutral + (distance if tuning.wanted_direction == "more" else -distance)


def _rows(method: str, comparison: Comparison, strength: float | None, figures: dict[str, Figure]) -> list[Effect]:
    return [
        Effect(method, comparison, strength, metric, *(_finite(end) for end in (one.value, one.low, one.high)))
        for metric, one in figures.items()
    ]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _effect_size(move: Move, users: Users, world: World) -> dict[str, Figure]:
    """Cohen's d of the weighted activations of the latents: mainstream users against the niche half.

    A description of who they fire for, which chooses nothing. Interval after Hedges and Olkin (1985).
    """
    activations, latent_ids = world.codes(users)
    weights = np.zeros(world.sae.num_latents)
    weights[move.latents] = move.weights
    values = (activations * weights[latent_ids]).sum(1)
    taste = users.mean_of_seen(np.log1p(world.catalogue.popularity))
    niche = taste <= np.median(taste)
    first, second = values[~niche], values[niche]
    n, m = len(first), len(second)
    if n < 2 or m < 2:
        return {}
    spread = np.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (n + m - 2))
    d = float((first.mean() - second.mean()) / spread) if spread > 0 else 0.0
    error = 1.96 * float(np.sqrt((n + m) / (n * m) + d**2 / (2 * (n + m))))
    return {"mainstream_effect_size": Figure(d, d - error, d + error)}
