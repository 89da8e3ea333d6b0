"""The SAE's way to turn a concept, and what a user would do instead: each is a step of x or of the scores, times a
strength.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.tuning.held_out import Users
from recsae_lib.tuning.lists import best_lists
from recsae_lib.tuning.moves import Move
from recsae_lib.tuning.resolve import MOST_LATENTS, Subject
from recsae_lib.tuning.targets import sparse_code
from recsae_lib.tuning.world import World, decoder_of, encode

NEAREST = 10  # latents of the nearest energy, among which the random one is drawn
# Kinds of dictionaries beside the SAE whose units are chosen by the same rule as its latents.
COMPARED = (UnitKind.UNTRAINED, UnitKind.CLUSTER, UnitKind.DIMENSION)
SAE, RANDOM_LATENTS, RERANKING = "sae", "random_latents", "re_ranking"


@dataclass(frozen=True)
class Method:
    """A way to change lists.

    ::

        x' = x + s step(users)          scores' = scores + s bonus

    Parameters
    ----------
    name : in the rows of tuning_effects.
    step : gives (S, d) or (d,) float32; None where x stays.
    bonus : (n,) float32, added to the scores of everybody; None where scores stay.
    most : the largest strength s that means something.
    """

    name: str
    step: Callable[[Users], np.ndarray] | None = None
    bonus: np.ndarray | None = None
    most: float = float("inf")

    def lists(self, recommender: Recommender, users: Users, strength: float) -> np.ndarray:
        """Lists of users at a strength."""
        with np.errstate(over="ignore"):
            x = users.x if self.step is None else users.x + np.float32(strength) * self.step(users)
        bonus = None if self.bonus is None else np.float32(strength) * self.bonus
        if not np.isfinite(x).all() or (bonus is not None and not np.isfinite(bonus).all()):
            raise InputError(
                f"A strength of {strength:g} moves representations beyond all numbers", "Choose a smaller strength"
            )
        return best_lists(recommender, users, x, bonus)

    def unit(self, users: Users, recommender: Recommender) -> float:
        """A strength that moves users by about a hundredth of their spread; 0 if the method never moves anything."""
        if self.bonus is not None:
            some = users.x[: min(len(users), 64)]
            spread = float(np.std(best_scores(recommender, some)))
            size = float(np.abs(self.bonus).max(initial=0.0))
        else:
            assert self.step is not None
            spread = float(np.sqrt(np.mean(np.sum((users.x - users.x.mean(0)) ** 2, axis=1)))) or 1.0
            size = float(np.sqrt(np.mean(np.sum(np.square(np.atleast_2d(self.step(users))), axis=1))))
        return 0.01 * spread / size if size > 0 and spread > 0 else 0.0


def best_scores(recommender: Recommender, x: np.ndarray) -> np.ndarray:
    """Scores of all items for a few representations."""
    return recommender.score(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def methods_of(tuning: TuningSettings, move: Move, subject: Subject, world: World) -> list[Method]:
    """The SAE's method first, then its controls (METHOD.md section 8).

    Parameters
    ----------
    move : what the SAE's latents do.
    subject : what the tuning is about; every control is chosen for it, without a look at any list.
    """
    sign = 1.0 if tuning.wanted_direction == "more" else -1.0
    target, moments = subject.target, world.moments
    steps = _Steps(tuning, move, world, sign)
    methods = [Method(SAE, steps.own, most=steps.most)]
    if (random := _random_move(move, world)) is not None:
        methods.append(Method(RANDOM_LATENTS, steps.along(random.weights @ world.decoder[random.latents])))
    for kind in COMPARED:
        if kind in world.others:
            methods.append(Method(kind.value, steps.along(_direction_of(kind, tuning, subject, world))))
    if subject.carriers is not None:
        methods.append(Method("class_mean", steps.along(_class_mean(subject.carriers, world))))
    methods += [
        Method("item_mean", steps.along(target.contrast)),
        Method("ridge_probe", steps.along(target.probe(moments))),
        Method("scaling", steps.as_far(world.dev.x.mean(0))),
        Method("noise", steps.noise(world.seed)),
        Method(RERANKING, bonus=(sign * _unit_spread(target.values)).astype(np.float32)),
    ]
    return methods


class _Steps:
    """Steps of x: of the SAE's latents, and along other directions for the same users."""

    def __init__(self, tuning: TuningSettings, move: Move, world: World, sign: float) -> None:
        self.move, self.world, self.sign = move, world, sign
        # Multiplied by m = 1 − s, a latent is removed at 1; less than nothing of it there is not.
        self.most = 1.0 if move.mode == "multiply" and sign < 0 else float("inf")

    def own(self, users: Users) -> np.ndarray:
        """Σ w_l W_dec,l for everybody, or Σ z_l W_dec,l of the latents that fire, with the sign of the tuning."""
        decoder, move = self.world.decoder, self.move
        if move.mode == "add":
            return (self.sign * (move.weights @ decoder[move.latents])).astype(np.float32)
        activations, latent_ids = self.world.codes(users)
        step = np.zeros_like(users.x)
        for latent in move.latents:
            rows, place = np.nonzero((latent_ids == latent) & (activations > 0))
            step[rows] += activations[rows, place][:, None] * decoder[latent]
        return np.float32(self.sign) * step

    def along(self, direction: np.ndarray) -> Callable[[Users], np.ndarray]:
        """A step along a direction: for everybody, or as far for each user as the SAE's latents move them."""
        length = float(np.linalg.norm(direction))
        unit = (self.sign * direction / length if length > 0 else np.zeros_like(direction)).astype(np.float32)
        if self.move.mode == "add":
            return lambda users: unit
        return lambda users: np.linalg.norm(self.own(users), axis=1, keepdims=True) * unit

    def as_far(self, mean: np.ndarray) -> Callable[[Users], np.ndarray]:
        """Away from the mean of all users, which sharpens what is special of each."""
        return lambda users: users.x - mean

    def noise(self, seed: int) -> Callable[[Users], np.ndarray]:
        """A random direction of unit length for each user."""

        def step(users: Users) -> np.ndarray:
            drawn = np.random.default_rng(seed).normal(size=users.x.shape)
            return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

        return step


def moves_anything(move: Move, users: Users, world: World) -> np.ndarray:
    """(S,) bool: users whom a move can move."""
    if move.mode == "add":
        return np.ones(len(users), dtype=bool)
    activations, latent_ids = world.codes(users)
    fires: np.ndarray = (np.isin(latent_ids, move.latents) & (activations > 0)).any(1)
    return fires


def _random_move(move: Move, world: World) -> Move | None:
    """As many other live latents, each drawn among those of the nearest Σz²."""
    others = np.setdiff1d(np.flatnonzero(world.energy > 0), move.latents)
    if len(others) < len(move.latents):
        return None
    random = np.random.default_rng(world.seed)
    drawn: list[int] = []
    for latent in move.latents:
        left = np.setdiff1d(others, drawn)
        gaps = np.abs(np.log(world.energy[left]) - np.log(max(world.energy[latent], 1e-300)))
        drawn.append(int(random.choice(left[np.argsort(gaps, kind="stable")[:NEAREST]])))
    return Move(move.mode, np.array(drawn, dtype=np.int64), move.weights)


def _direction_of(kind: UnitKind, tuning: TuningSettings, subject: Subject, world: World) -> np.ndarray:
    """Direction that the rule of the tuning chooses in another dictionary: one unit, or at most 8."""
    sae = world.others[kind]
    decoder = decoder_of(sae)
    activations, latent_ids = encode(sae, world.dev.x)
    live = np.bincount(latent_ids[activations > 0], minlength=sae.num_latents) > 0
    if subject.place is not None:
        scores = np.where(live, subject.target.scores(decoder, world.moments), -np.inf)
        return decoder[int(scores.argmax())].astype(np.float64)
    chosen, weights = sparse_code(subject.target.contrast, decoder, live, MOST_LATENTS)
    return weights @ decoder[chosen] if len(chosen) else np.zeros(decoder.shape[1])


def _class_mean(carriers: np.ndarray, world: World) -> np.ndarray:
    """Mean x of the dev users who have seen more of the feature than most, less the mean of the others."""
    share = world.dev.mean_of_seen(carriers)
    many = share > np.median(share)
    if not many.any() or many.all():
        return np.zeros(world.dev.x.shape[1])
    difference: np.ndarray = world.dev.x[many].mean(0, dtype=np.float64) - world.dev.x[~many].mean(0, dtype=np.float64)
    return difference


def _unit_spread(values: np.ndarray) -> np.ndarray:
    largest = float(np.abs(values).max(initial=0.0))
    return values / largest if largest > 0 else values
