"""What a tuning does to the lists of held-out users, beside every control (METHOD.md section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.tuning.calibration import ResolvedMix, exposure_errors, mixed_lists
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.list_metrics import Figure, ListMeter
from recsae_lib.tuning.lists import best_lists
from recsae_lib.tuning.methods import SAE, methods_of, moves_anything
from recsae_lib.tuning.mixes import mix_methods, mix_of
from recsae_lib.tuning.moves import Move, ResolvedTuning, moved
from recsae_lib.tuning.resolve import move_of, subject_of
from recsae_lib.tuning.strength import Listing, StrengthSearch
from recsae_lib.tuning.world import World

DEFAULT_OVERLAP = 0.7
NDCG_KEPT = 0.95  # where methods are compared at equal accuracy
UNTUNED = "untuned"

Comparison = Literal["overlap", "ndcg"]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
Measure = Callable[[np.ndarray], dict[str, Figure]]


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

    resolved: ResolvedTuning | ResolvedMix
    subject: str
    overlap: float
    users: int
    effects: list[Effect]

    def line(self) -> str:
        """How it is carried out, as people read it."""
        resolved, strength = self.resolved, self.resolved.strength
        if isinstance(resolved, ResolvedMix):
            latents, done = ", ".join(map(str, resolved.latents)), f"{strength:+.3g} in a list each"
        else:
            pairs = zip(resolved.move.latents, resolved.move.weights, strict=True)
            latents = ", ".join(
                f"{latent}" if weight == 1 else f"{latent} (× {weight:.2f})" for latent, weight in pairs
            )
            done = f"× {strength:.3g}" if resolved.move.mode == "multiply" else f"{strength:+.3g} for everybody"
        return (
            f"{resolved.name}: {self.subject}: latents {latents}, {done}; {self.overlap:.0%} of the dev users' lists "
            f"stay; measured on {self.users:,} test users"
        )


def measure_tuning(tuning: TuningSettings, world: World) -> MeasuredTuning:
    """Resolve a tuning, choose the strengths of all methods on dev users, and measure them on test users.

    Raises
    ------
    InputError : it names something unknown, or moves nobody.
    """
    return _measure_move(tuning, world) if tuning.mix is None else _measure_mix(tuning, world)


def _measure_move(tuning: TuningSettings, world: World) -> MeasuredTuning:
    subject = subject_of(tuning, world)
    move = move_of(tuning, subject, world)
    methods = methods_of(tuning, move, subject, world)
    dev, test = (users.take(np.flatnonzero(moves_anything(move, users, world))) for users in (world.dev, world.test))
    given = None if tuning.strength is None else abs(tuning.strength - move.neutral)
    if not len(dev) and given is not None:  # rare in all users, and in none of the dev users
        return MeasuredTuning(ResolvedTuning(tuning.name, move, tuning.strength or 0.0), subject.title, 1.0, 0, [])
    if not len(dev):
        raise InputError(
            f"tuning {tuning.name}: its latents fire for none of the dev users, so that no strength can be chosen",
            "Give it a strength, turn other latents, or use mode add",
        )

    def measure_of(before: np.ndarray) -> Measure:
        return ListMeter(test, before, world.catalogue, subject.carriers, subject.place, world.seed).measure

    found = _compare(tuning, methods, given, dev, test, measure_of, world)
    effects = [
        replace(one, strength=stated_strength(tuning, move, one.strength))
        if one.method == SAE and one.strength is not None
        else one
        for one in found.effects
    ]
    resolved = ResolvedTuning(tuning.name, move, stated_strength(tuning, move, found.strength))
    if tuning.debias is not None and len(test):
        effects += _rows(SAE, "overlap", resolved.strength, _effect_size(move, test, world))
    return MeasuredTuning(resolved, subject.title, found.overlap, len(test), effects)


def _measure_mix(tuning: TuningSettings, world: World) -> MeasuredTuning:
    mix = mix_of(tuning, world)
    latents, methods = mix_methods(mix, world)
    of_items, wanted = world.catalogue.carried[:, mix.places], mix.wanted(world.test, world.catalogue.carried)

    def measure_of(before: np.ndarray) -> Measure:
        meter = ListMeter(world.test, before, world.catalogue, None, None, world.seed)
        errors = exposure_errors(before, wanted, of_items)

        def measure(lists: np.ndarray) -> dict[str, Figure]:
            after = exposure_errors(lists, wanted, of_items)
            own = {"exposure_error": meter.mean(after), "exposure_error_change": meter.mean(after - errors)}
            return {**meter.measure(lists), **own}

        return measure

    found = _compare(tuning, methods, tuning.strength, world.dev, world.test, measure_of, world)
    resolved = ResolvedMix(tuning.name, mix, latents, found.strength)
    asked = mix.places if mix.shares is not None else mix.places[:0]
    title = ", ".join(world.catalogue.features[place] for place in asked) or "each user's own mix"
    return MeasuredTuning(resolved, title, found.overlap, len(world.test), found.effects)


@dataclass(frozen=True)
class _Compared:
    """Strength of the SAE's method, what it leaves of the dev users' lists, and all rows."""

    strength: float
    overlap: float
    effects: list[Effect]


def _compare(
    tuning: TuningSettings,
    methods: Sequence[Listing],
    given: float | None,
    dev: Users,
    test: Users,
    measure_of: Callable[[np.ndarray], Measure],
    world: World,
) -> _Compared:
    """Measure all methods at the overlap of the first one, the SAE's, and at an equal share of NDCG.

    Parameters
    ----------
    given : strength of the first method; None where an overlap is wanted.
    measure_of : gives, of the test users' lists before, what measures their lists after.
    """
    before = best_lists(world.recommender, dev, dev.x)
    search = StrengthSearch(methods[0], world.recommender, dev, before)
    chosen = search.for_overlap(tuning.overlap or DEFAULT_OVERLAP) if given is None else given
    overlap = search.at(chosen).overlap
    if not len(test):
        return _Compared(chosen, overlap, [])
    lists_before = best_lists(world.recommender, test, test.x)
    measure = measure_of(lists_before)
    unchanged = measure(lists_before)
    effects = [*_rows(UNTUNED, "overlap", None, unchanged), *_rows(UNTUNED, "ndcg", None, unchanged)]
    for method in methods:
        if method is not methods[0]:
            search = StrengthSearch(method, world.recommender, dev, before)
        at_overlap = chosen if method is methods[0] else search.for_overlap(overlap)
        strengths: dict[Comparison, float] = {"overlap": at_overlap, "ndcg": search.for_ndcg(NDCG_KEPT)}
        for comparison, strength in strengths.items():
            figures = measure(method.lists(world.recommender, test, strength))
            effects += _rows(method.name, comparison, strength, figures)
    return _Compared(chosen, overlap, effects)


def tuned_lists(resolved: ResolvedTuning | ResolvedMix, users: Users, world: World) -> np.ndarray:
    """Lists of users under a tuning, (S, N) item indices, -1 where there is no item."""
    if isinstance(resolved, ResolvedMix):
        wanted = resolved.mix.wanted(users, world.catalogue.carried)
        return mixed_lists(world.recommender, users, wanted, world.decoder[resolved.latents], resolved.strength)
    x = moved(users.x, *world.codes(users), world.decoder, resolved.move, resolved.strength)
    return best_lists(world.recommender, users, x)


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
