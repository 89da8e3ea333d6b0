"""The two terms of the training loss L = FVU + α·AuxK (method.md section 2); pure functions."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from recsae_lib.sae.model import SparseAutoencoder


def fvu(x: torch.Tensor, x_hat: torch.Tensor, total_variance: float) -> torch.Tensor:
    """Fraction of variance unexplained of a batch: mean of ‖x − x̂‖² over the rows, over `total_variance`.

    Parameters
    ----------
    x, x_hat : (batch, d)
    total_variance : mean of ‖x − mean(x)‖² over the training set. RecSAE takes it from each batch of 4; ours is fixed.
    """
    return (x - x_hat).square().sum(1).mean() / total_variance


def auxk(
    sae: SparseAutoencoder,
    x: torch.Tensor,
    x_hat: torch.Tensor,
    dead_ids: torch.Tensor,
    total_variance: float,
    limit: int | None = None,
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
    limit : stands in for d/2 where given.
    """
    k_aux = min(limit or sae.dimension // 2, len(dead_ids))
    if k_aux == 0:
        return x.new_zeros(())
    residual = (x - x_hat).detach()
    activations = torch.relu(F.linear(x - sae.b_dec, sae.W_enc[dead_ids], sae.b_enc[dead_ids]))
    values, positions = activations.topk(k_aux, dim=1)
    residual_hat = F.embedding_bag(dead_ids[positions], sae.W_dec, per_sample_weights=values, mode="sum")
    return fvu(residual, residual_hat, total_variance)
