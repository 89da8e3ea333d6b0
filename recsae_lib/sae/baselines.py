"""Dictionaries that nobody trained, which an SAE is compared with (METHOD.md section 6): sample rows in, SAEs out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional as F

from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.clusters import cluster_directions
from recsae_lib.sae.decoder_fit import with_fitted_decoder
from recsae_lib.sae.model import SparseAutoencoder

SEEDS = 3  # of each kind that is drawn


def compared_with(
    replicas: Sequence[SparseAutoencoder], initial: SparseAutoencoder, rows: torch.Tensor, seed: int
) -> Iterator[tuple[UnitKind, int, SparseAutoencoder]]:
    """Give what stands beside an SAE, with kind and number: its replicas, then its `baselines`."""
    yield from ((UnitKind.SAE, number, replica) for number, replica in enumerate(replicas, start=1))
    yield from baselines(initial, rows, seed)


def baselines(
    initial: SparseAutoencoder, rows: torch.Tensor, seed: int
) -> Iterator[tuple[UnitKind, int, SparseAutoencoder]]:
    """Make each baseline of an SAE, with its kind and number; number n of a kind that is drawn has seed `seed` + n − 1.

    Parameters
    ----------
    initial : the SAE as it was initialised at random; its M and k are those of the others.
    rows : (n, d) float32 on the CPU, a bounded random sample of the training rows within reach.
    seed : of `initial`.
    """
    latents, k = initial.num_latents, initial.k
    for number in range(1, SEEDS + 1):
        drawn = seed + number - 1
        untrained = initial
        if number > 1:
            untrained = SparseAutoencoder.initialise(initial.b_dec.detach().unsqueeze(0), latents, k, drawn)
        yield UnitKind.UNTRAINED, number, untrained
        yield UnitKind.UNTRAINED_FITTED, number, with_fitted_decoder(untrained, rows)
        yield UnitKind.CLUSTER, number, along(cluster_directions(rows, latents, drawn), rows, k)
        yield UnitKind.RANDOM_USER, number, along(user_directions(rows, latents, drawn), rows, k)
    yield UnitKind.DIMENSION, 1, dimensions(rows.mean(0), rows.std(0, correction=0), k)


def along(directions: torch.Tensor, rows: torch.Tensor, k: int) -> SparseAutoencoder:
    """SAE whose latents read along given directions from the mean of the rows, with a decoder that is fitted to them.

    Parameters
    ----------
    directions : (M, d), of unit norm; a latent whose direction is zero never fires.
    """
    b_enc = rows.new_zeros(len(directions))
    return with_fitted_decoder(SparseAutoencoder(directions, b_enc, directions.clone(), rows.mean(0), k), rows)


def user_directions(rows: torch.Tensor, number: int, seed: int) -> torch.Tensor:
    """Unit directions from the mean to rows drawn at random, (number, d); zero where there are not so many rows."""
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:number]
    directions = rows.new_zeros(number, rows.shape[1])
    directions[: len(drawn)] = F.normalize(rows[drawn] - rows.mean(0))
    return directions


def dimensions(mean: torch.Tensor, deviation: torch.Tensor, k: int) -> SparseAutoencoder:
    """The raw dimensions of x as 2d latents, each sign one::

        a_2j = ReLU(x_j − mean_j) / deviation_j        a_2j+1 = ReLU(mean_j − x_j) / deviation_j
        rows of W_dec: deviation_j e_j and −deviation_j e_j

    At most k fire; those of a dimension without deviation never do.

    Parameters
    ----------
    mean, deviation : (d,) float32
    """
    inverse = torch.where(deviation > 0, 1 / deviation, 0)

    def both_signs(lengths: torch.Tensor) -> torch.Tensor:
        rows = torch.diag(lengths)
        return torch.stack([rows, -rows], dim=1).reshape(-1, len(lengths))

    b_enc = mean.new_zeros(2 * len(mean))
    return SparseAutoencoder(both_signs(inverse), b_enc, both_signs(deviation), mean.clone(), min(k, len(b_enc)))
