"""Sizes of SAEs that suit a set of representations: the entries of an automatic sweep (METHOD.md section 2; ours)."""

from __future__ import annotations

import torch

from recsae_lib.config.sae import SaeVariation

ACTIVE = (2, 4, 8)
USERS_OF_LATENT = 60  # for which a latent fires on average, at the least
LARGEST_FACTOR = 64
VARIANTS = ("top_k", "batch_top_k")


def effective_rank(rows: torch.Tensor) -> float:
    """Number of directions in which representations vary (Roy and Vetterli 2007), 1 to d.

    ::

        p_i = λ_i / Σ λ,   exp(−Σ p_i ln p_i),   λ: eigenvalues of the covariance

    Parameters
    ----------
    rows : (n, d), a sample.
    """
    away = (rows - rows.mean(0)).double()
    values = torch.linalg.eigvalsh(away.T @ away).clamp(min=0)
    if not values.sum() > 0:
        return 1.0
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


def automatic_grid(users: int, dimension: int, rank: float) -> list[SaeVariation]:
    """Entries of the sweep ``auto``.

    ::

        k of 2, 4, 8, at most rank / 2 (2 always)
        M = s d, s a power of 2: the largest with users · k / M >= 60, and half of it; at least d

    Each size is trained as `VARIANTS`.

    Parameters
    ----------
    users : that are audited; a latent must fire for enough of them to be named on one half and tried on the other.
    dimension : d
    rank : see `effective_rank`.
    """
    entries = []
    for k in ACTIVE:
        if k > max(min(ACTIVE), rank / 2):
            continue
        largest = max(1, min(LARGEST_FACTOR, users * k // (USERS_OF_LATENT * dimension)))
        factor = 1 << (largest.bit_length() - 1)
        for size in sorted({max(1, factor // 2), factor}):
            entries += [SaeVariation(k=k, expansion_factor=size, variant=variant, seed=None) for variant in VARIANTS]
    return entries
