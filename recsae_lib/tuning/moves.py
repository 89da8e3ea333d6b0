"""Representations moved along latents (METHOD.md section 8): x is encoded once, the error of the SAE stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Mode = Literal["multiply", "add"]


@dataclass(frozen=True)
class Move:
    """What is done to a representation.

    Parameters
    ----------
    mode : ``multiply`` turns activations, for users for whom a latent fires; ``add`` adds to them, for everybody.
    latents : (L,) int64 ids.
    weights : (L,) float64, how much of the strength each latent gets; of ``multiply`` all 1.
    """

    mode: Mode
    latents: np.ndarray
    weights: np.ndarray

    @property
    def neutral(self) -> float:
        """The strength that changes nothing."""
        return 1.0 if self.mode == "multiply" else 0.0


def moved(
    x: np.ndarray,
    activations: np.ndarray,
    latent_ids: np.ndarray,
    decoder: np.ndarray,
    move: Move,
    strength: float,
) -> np.ndarray:
    """Move representations.

    ::

        x' = x + Σ_l (f_l(z_l) − z_l) W_dec,l
        multiply:  f_l(z) = m z            add:  f_l(z) = z + a w_l

    Parameters
    ----------
    x : (rows, d) float32.
    activations, latent_ids : (rows, k), what `SparseAutoencoder.encode` says of x.
    decoder : (M, d) W_dec.
    strength : m or a.

    Returns
    -------
    (rows, d) float32; a row that does not move is x to the bit.
    """
    if strength == move.neutral:
        return x
    if move.mode == "add":
        step = ((strength * move.weights) @ decoder[move.latents].astype(np.float64)).astype(np.float32)
        return x + step if step.any() else x
    result = x.copy()
    for latent in move.latents:
        rows, place = np.nonzero((latent_ids == latent) & (activations > 0))
        result[rows] += np.float32(strength - 1.0) * activations[rows, place][:, None] * decoder[latent]
    return result


@dataclass(frozen=True)
class ResolvedTuning:
    """A tuning of the settings, as it is carried out.

    Parameters
    ----------
    name : of the settings.
    move, strength : what `moved` takes.
    """

    name: str
    move: Move
    strength: float
