"""Adam over the weights of an SAE, with rows of W_dec that stay of unit norm (METHOD.md section 2)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.platform.compute.compiled import compiled_with_free_sums
from recsae_lib.sae.kernels.workers import LATENT_BLOCK, Workers
from recsae_lib.sae.model import SparseAutoencoder


class UnitNormAdam:
    """Adam (β = 0.9 and 0.999, ε = 1e-8); before a step the gradient of W_dec loses its component along each row, which
    normalising the row after the step would undo anyway.

    The state is that of torch's Adam. On a CPU compiled loops move a row at a time, while it is in cache.

    Parameters
    ----------
    sae : its parameters are moved by their ``grad``.
    workers : share the rows on a CPU.
    """

    def __init__(self, sae: SparseAutoencoder, workers: Workers | None) -> None:
        self.sae, self._workers = sae, workers
        self.adam = torch.optim.Adam(sae.parameters(), fused=True)
        for weights in sae.parameters():
            moments = {"exp_avg": torch.zeros_like(weights), "exp_avg_sq": torch.zeros_like(weights)}
            self.adam.state[weights] = {"step": torch.zeros((), device=weights.device), **moments}

    @property
    def steps_done(self) -> int:
        """Steps made, before a restart too."""
        return int(self.adam.state[self.sae.W_dec]["step"])

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the weights once."""
        self.adam.param_groups[0]["lr"] = learning_rate
        if self._workers is not None:
            for weights in self.sae.parameters():
                self._move(weights, weights is self.sae.W_dec, self._workers)
            return
        remove_parallel_gradient(self.sae.W_dec)
        self.adam.step()
        self.sae.W_dec.copy_(F.normalize(self.sae.W_dec))

    def _move(self, weights: torch.nn.Parameter, of_unit_norm: bool, workers: Workers) -> None:
        state, group = self.adam.state[weights], self.adam.param_groups[0]
        state["step"] += 1
        done = float(state["step"])
        beta, beta_square, epsilon = (np.float32(number) for number in (*group["betas"], group["eps"]))
        rate = np.float32(group["lr"] / (1 - group["betas"][0] ** done))
        spread = np.float32(1 / math.sqrt(1 - group["betas"][1] ** done))
        assert weights.grad is not None
        tensors = weights.detach(), weights.grad, state["exp_avg"], state["exp_avg_sq"]
        arrays = [tensor.numpy().reshape(-1, weights.shape[-1]) for tensor in tensors]

        def of_rows(_: int, begin: int, end: int) -> None:
            w, g, m, s = (array[begin:end] for array in arrays)
            _move_rows(w, g, m, s, rate, beta, beta_square, spread, epsilon, of_unit_norm)

        workers.share(of_rows, len(arrays[0]), LATENT_BLOCK)


@torch.no_grad()
def remove_parallel_gradient(W_dec: torch.nn.Parameter) -> None:
    """Take out of each row's gradient the component along the row."""
    if W_dec.grad is not None:
        W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec


@compiled_with_free_sums
def _move_rows(
    weights: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    mean_square: np.ndarray,
    rate: np.float32,
    beta: np.float32,
    beta_square: np.float32,
    spread: np.float32,
    epsilon: np.float32,
    of_unit_norm: bool,
) -> None:
    """One step of Adam for some rows; with `of_unit_norm` along the sphere."""
    rows, width = weights.shape
    one = np.float32(1.0)
    for row in range(rows):
        w, g, m, s = weights[row], gradient[row], mean[row], mean_square[row]
        if of_unit_norm:
            along = np.float32(0.0)
            for column in range(width):
                along += g[column] * w[column]
            for column in range(width):
                g[column] -= along * w[column]
        for column in range(width):
            m[column] += (one - beta) * (g[column] - m[column])
            s[column] += (one - beta_square) * (g[column] * g[column] - s[column])
            w[column] -= rate * m[column] / (np.sqrt(s[column]) * spread + epsilon)
        if of_unit_norm:
            squares = np.float32(0.0)
            for column in range(width):
                squares += w[column] * w[column]
            inverse = one / max(np.sqrt(squares), np.float32(1e-12))
            for column in range(width):
                w[column] *= inverse
