"""Tunings that say latents and strength themselves, where nobody is held out and nothing can be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.tuning.moves import Move, ResolvedTuning


def explicit_tunings(
    tunings: Sequence[TuningSettings], num_latents: int, live: Callable[[], Sequence[int]]
) -> list[ResolvedTuning]:
    """Turn the settings into moves, in their order.

    Parameters
    ----------
    num_latents : M.
    live : gives the latents that fire for anybody; asked only where a tuning names a latent that there is not.

    Raises
    ------
    InputError : a tuning names an unknown latent, or anything but latents with a strength.
    """
    return [_explicit(tuning, num_latents, live) for tuning in tunings]


def _explicit(tuning: TuningSettings, num_latents: int, live: Callable[[], Sequence[int]]) -> ResolvedTuning:
    if not tuning.latents or tuning.strength is None:
        raise InputError(
            f"Tuning {tuning.name} cannot be resolved here: nobody is held out, on whom a strength could be chosen",
            "Give it latents and a strength (latents: [3], strength: 0), or tune at the site last of a model of which "
            "users are held out",
        )
    for latent in tuning.latents:
        if latent >= num_latents:
            near = min(live(), key=lambda other: abs(other - latent), default=None)
            named = "" if near is None else f"; the nearest that fires for anybody is {near}"
            raise InputError(
                f"Tuning {tuning.name} names latent {latent}: there are latents 0 to {num_latents - 1}{named}",
                "`recsae concepts` lists them",
            )
    latents = np.array(list(dict.fromkeys(tuning.latents)), dtype=np.int64)
    return ResolvedTuning(tuning.name, Move(tuning.mode, latents, np.ones(len(latents))), tuning.strength)
