"""The decoder that reconstructs best from given activations: ridge regression on sparse codes."""

from __future__ import annotations

import numpy as np
import scipy
import torch
from scipy.sparse import csr_array

from recsae_lib.sae.model import SparseAutoencoder

RIDGE = 1e-8  # of the mean of Σ z² over the latents that fire: rare latents keep finite rows
DENSE_LATENTS = 4096  # most of which an M × M matrix is held: 128 MiB
ITERATIONS, TOLERANCE = 200, 1e-6  # of conjugate gradients; the residual's norm against that of the right-hand side
BLOCK_ROWS = 8192


@torch.no_grad()
def with_fitted_decoder(sae: SparseAutoencoder, rows: torch.Tensor) -> SparseAutoencoder:
    """Copy of an SAE with the same encoder, so the same activations, and the rows of W_dec that reconstruct best::

        W_dec = argmin_W Σ‖x − b_dec − z W‖² + λ‖W‖²,    λ = 1e-8 · mean of Σ z² over the latents that fire

    Up to 4,096 latents it is solved exactly, beyond by conjugate gradients, and no M × M matrix is held. The row of a
    latent that fires for none of the rows is zero.

    Parameters
    ----------
    rows : (n, d) float32 on the CPU.
    """
    codes = _codes(sae, rows)
    wanted = codes.T @ (rows.numpy() - sae.b_dec.detach().numpy()).astype(np.float64)
    energy = codes.power(2).sum(0)
    ridge = RIDGE * float(energy[energy > 0].mean()) if (energy > 0).any() else 1.0
    if sae.num_latents <= DENSE_LATENTS:
        gram = (codes.T @ codes).toarray()
        gram[np.diag_indices_from(gram)] += ridge
        solved = scipy.linalg.solve(gram, wanted, assume_a="pos", overwrite_a=True)
    else:
        solved = _conjugate_gradients(codes, wanted, energy + ridge, ridge)
    W_dec = torch.from_numpy(solved.astype(np.float32))
    return SparseAutoencoder(sae.W_enc.clone(), sae.b_enc.clone(), W_dec, sae.b_dec.clone(), sae.k, sae.threshold)


def _codes(sae: SparseAutoencoder, rows: torch.Tensor) -> csr_array:
    """Sparse codes z of the rows, (n, M) float64."""
    encoded = [sae.encode(block) for block in rows.split(BLOCK_ROWS)]
    activations = torch.cat([values for values, _ in encoded]).double().numpy()
    latent_ids = torch.cat([ids for _, ids in encoded]).numpy()
    active = activations > 0
    starts = np.concatenate([[0], np.cumsum(active.sum(1))])
    return csr_array((activations[active], latent_ids[active], starts), shape=(len(rows), sae.num_latents))


def _conjugate_gradients(codes: csr_array, wanted: np.ndarray, diagonal: np.ndarray, ridge: float) -> np.ndarray:
    """Solve (ZᵀZ + ridge) W = wanted for all d columns side by side, preconditioned by the diagonal.

    scipy's `cg` takes one column at a time, and so multiplies by Z d times as often.
    """
    solved, residual = np.zeros_like(wanted), wanted.copy()
    direction = conditioned = residual / diagonal[:, None]
    product = (residual * conditioned).sum(0)
    enough = TOLERANCE * np.linalg.norm(wanted, axis=0)
    for _ in range(ITERATIONS):
        if (np.linalg.norm(residual, axis=0) <= enough).all():
            break
        moved = codes.T @ (codes @ direction) + ridge * direction
        length = product / np.maximum((direction * moved).sum(0), np.finfo(float).tiny)
        solved += length * direction
        residual -= length * moved
        conditioned = residual / diagonal[:, None]
        before, product = product, (residual * conditioned).sum(0)
        direction = conditioned + product / np.maximum(before, np.finfo(float).tiny) * direction
    return solved
