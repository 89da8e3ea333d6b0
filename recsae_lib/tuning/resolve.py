"""From what a tuning names to the latents that are turned (METHOD.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.tuning.moves import Move
from recsae_lib.tuning.targets import Target, sparse_code
from recsae_lib.tuning.world import World

MOST_LATENTS = 8  # that explain a direction together


@dataclass(frozen=True)
class Subject:
    """What a tuning is about.

    Parameters
    ----------
    title : in words.
    target : the value of each item that lists are to have more or less of.
    place : of the feature in the catalogue; None where it is none.
    carriers : (n,) 1 for items with the feature or that are named; None where it is popularity.
    """

    title: str
    target: Target
    place: int | None
    carriers: np.ndarray | None


def subject_of(tuning: TuningSettings, world: World) -> Subject:
    """Find what a tuning is about; of latents that it names the feature that they lift most.

    Raises
    ------
    InputError : the feature or an item is unknown; the nearest names are given. Or the catalogue has no feature.
    """
    catalogue = world.catalogue
    if tuning.debias is not None:
        values = np.log1p(catalogue.popularity.astype(np.float64))
        return Subject("popularity", Target.of(values, world.vectors, world.moments), None, None)
    if tuning.like:
        carriers = np.zeros(catalogue.item_count)
        carriers[[item_index(item, world.item_ids) for item in tuning.like]] = 1.0
        return Subject("the named items", Target.of(carriers, world.vectors, world.moments), None, carriers)
    place = catalogue.place_of(tuning.feature) if tuning.feature is not None else _lifted(tuning, world)
    carriers = catalogue.carriers(place)
    return Subject(catalogue.features[place], Target.of(carriers, world.vectors, world.moments), place, carriers)


def move_of(tuning: TuningSettings, subject: Subject, world: World) -> Move:
    """Choose the latents of a tuning.

    ::

        latents             as named, each with weight 1
        feature             the live latent of the highest output score, with weight 1
        like, popularity    at most 8 live latents whose decoder rows explain cov(e, t) / var(t), by orthogonal
                            matching pursuit; the largest weight is 1

    Multiplied are only latents with a positive weight: a latent that fires cannot be turned into its opposite.

    Raises
    ------
    InputError : a latent is unknown, or no latent does anything.
    """
    if tuning.latents:
        for latent in tuning.latents:
            require_latent(latent, tuning, world)
        chosen = np.array(list(dict.fromkeys(tuning.latents)), dtype=np.int64)
        return Move(tuning.mode, chosen, np.ones(len(chosen)))
    live = world.energy > 0
    if tuning.feature is not None:
        scores = np.where(live, subject.target.scores(world.decoder, world.moments), -np.inf)
        return Move(tuning.mode, np.array([int(scores.argmax())]), np.ones(1))
    chosen, weights = sparse_code(subject.target.contrast, world.decoder, live, MOST_LATENTS)
    if tuning.mode == "multiply":
        chosen, weights = chosen[weights > 0], weights[weights > 0]
    if not len(chosen):
        raise InputError(
            f"tuning {tuning.name}: no live latent changes how items are scored for {subject.title}",
            "Look at the items that it names, or train the SAE again",
        )
    return Move(tuning.mode, chosen, weights / np.abs(weights).max())


def require_latent(latent: int, tuning: TuningSettings, world: World) -> None:
    """Raise InputError where the SAE has no such latent; the nearest that fires for dev users is given."""
    if latent < world.sae.num_latents:
        return
    live = np.flatnonzero(world.energy > 0)
    near = int(live[np.abs(live - latent).argmin()]) if len(live) else None
    last = world.sae.num_latents - 1
    raise InputError(
        f"tuning {tuning.name}: latent {latent} does not exist; the SAE has the latents 0 to {last}",
        f"Name another; the nearest that fires is {near}" if near is not None else "Train the SAE again",
    )


def item_index(item: str, item_ids: np.ndarray) -> int:
    """Index of an item by its id.

    Raises
    ------
    InputError : the recommender does not know it; the ids around it are given.
    """
    place = int(np.searchsorted(item_ids, item))
    if place < len(item_ids) and item_ids[place] == item:
        return place
    near = ", ".join(str(one) for one in item_ids[max(place - 2, 0) : place + 2])
    raise InputError(f"The recommender knows no item {item!r}", f"Name items by their ids; next to it are {near}")


def _lifted(tuning: TuningSettings, world: World) -> int:
    """Place of the feature that named latents together lift most."""
    for latent in tuning.latents:
        require_latent(latent, tuning, world)
    catalogue = world.catalogue
    if catalogue.is_derived.all():
        raise InputError(
            f"tuning {tuning.name}: no item feature belongs to enough items, so that nothing shows what it does",
            "Give items features (dataset)",
        )
    effects = (world.vectors @ world.decoder[list(dict.fromkeys(tuning.latents))].sum(0)).astype(np.float64)
    effects -= effects.mean()
    counts = np.asarray(catalogue.carried.sum(0)).ravel()
    sums = np.asarray(effects @ catalogue.carried).ravel()
    n = catalogue.item_count
    means = np.divide(sums * n, counts * (n - counts), out=np.zeros(len(counts)), where=(counts > 0) & (counts < n))
    return int(np.where(catalogue.is_derived, -np.inf, means).argmax())
