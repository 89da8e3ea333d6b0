"""The terms of the training loss L = FVU + α·AuxK (METHOD.md section 2); pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.config import SaeSettings
from recsae_lib.sae.model import SparseAutoencoder


@dataclass(frozen=True)
class StepLoss:
    """What a batch gave before the weights moved, as tensors: reading a number would wait for a GPU.

    Parameters
    ----------
    fvu, auxk : the two terms of the loss; FVU that of the whole dictionary.
    l0 : mean number of active latents a row.
    lowest : smallest activation that was among the k · batch largest (BatchTopK); 0 for the other variants.
    fired : int64 ids of the latents that were active for a row.
    rows : of the batch.
    """

    fvu: torch.Tensor
    auxk: torch.Tensor
    l0: torch.Tensor
    lowest: torch.Tensor
    fired: torch.Tensor
    rows: int


def prefix_groups(settings: SaeSettings, num_latents: int) -> np.ndarray:
    """Return for each latent, (M,) int8, which nested prefix is the first that holds it; 0 without Matryoshka."""
    if settings.variant != "matryoshka":
        return np.zeros(num_latents, dtype=np.int8)
    lengths = [max(round(share * num_latents), 1) for share in settings.prefixes]
    return np.searchsorted(lengths, np.arange(num_latents), side="right").astype(np.int8)


def auxiliary_k(settings: SaeSettings, dimension: int, dead: int) -> int:
    """k_aux = min(d/2, n_dead), or the set number for d/2."""
    return min(settings.auxiliary_k or dimension // 2, dead)


def fvu(x: torch.Tensor, x_hat: torch.Tensor, total_variance: float) -> torch.Tensor:
    """Fraction of variance unexplained of a batch: mean of ‖x − x̂‖² over the rows, over `total_variance`.

    Parameters
    ----------
    x, x_hat : (batch, d)
    total_variance : mean of ‖x − mean(x)‖² over the training set. RecSAE takes it from each batch of 4; ours is fixed.
    """
    return (x - x_hat).square().sum(1).mean() / total_variance


def prefix_fvu(
    sae: SparseAutoencoder,
    x: torch.Tensor,
    activations: torch.Tensor,
    latent_ids: torch.Tensor,
    group_of: torch.Tensor,
    total_variance: float,
) -> torch.Tensor:
    """Mean, over nested prefixes of the dictionary, of the FVU when only the prefix's latents reconstruct (Matryoshka;
    Bussmann, Nabeshima, Karvonen, Nanda 2025).

    Parameters
    ----------
    x : (batch, d)
    activations, latent_ids : (batch, k), chosen from the whole dictionary.
    group_of : (M,) from `prefix_groups`.
    """
    groups = group_of[latent_ids]
    prefixes = range(int(group_of[-1]) + 1)
    losses = [fvu(x, sae.decode(activations * (groups <= prefix), latent_ids), total_variance) for prefix in prefixes]
    return torch.stack(losses).mean()


def auxk(
    sae: SparseAutoencoder,
    x: torch.Tensor,
    x_hat: torch.Tensor,
    dead_ids: torch.Tensor,
    total_variance: float,
    k_aux: int,
) -> torch.Tensor:
    """Auxiliary loss that lets dead latents learn what the live ones left over; zero where none is dead.

    ::

        e    = x − x̂, detached
        ê    = TopK_{k_aux}(a restricted to dead latents) W_dec      no b_dec
        AuxK = min(n_dead / k_aux, 1) · Σ‖e − ê‖² / Σ‖x − mean(x)‖²,   k_aux = min(d/2, n_dead)

    The factor is 1 by the definition of k_aux. The gradient reaches W_enc and every other weight through ê. RecSAE's
    code has the residual's sign wrong, does not detach it and counts b_dec twice; we follow the equations.

    Parameters
    ----------
    x, x_hat : (batch, d)
    dead_ids : (n_dead,) int64
    total_variance : mean of ‖x − mean(x)‖² over the training set.
    k_aux : from `auxiliary_k`.
    """
    if k_aux == 0:
        return x.new_zeros(())
    residual = (x - x_hat).detach()
    activations = torch.relu(F.linear(x - sae.b_dec, sae.W_enc[dead_ids], sae.b_enc[dead_ids]))
    values, positions = activations.topk(k_aux, dim=1)
    residual_hat = F.embedding_bag(dead_ids[positions], sae.W_dec, per_sample_weights=values, mode="sum")
    return fvu(residual, residual_hat, total_variance)
