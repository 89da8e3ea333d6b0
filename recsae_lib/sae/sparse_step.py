"""Encoding, loss and gradients of the sparse autoencoder on a CPU, without a batch × M matrix (method.md section 2)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recsae_lib.sae.block_encoder import BlockEncoder
from recsae_lib.sae.kernels import activation_gradients, add_weight_gradients, sort_by_latent, subtract_decoded
from recsae_lib.sae.model import SparseAutoencoder


@dataclass(frozen=True)
class StepLoss:
    """What a batch gave before the weights moved.

    Parameters
    ----------
    fvu, auxk : the two terms of the loss, as tensors of one number: reading it would wait for a GPU.
    l0 : mean number of active latents a row, likewise.
    fired : int64 ids of the latents that were active for a row.
    """

    fvu: torch.Tensor
    auxk: torch.Tensor
    l0: torch.Tensor
    fired: torch.Tensor


class SparseStep:
    """Loss and gradients of L = FVU + α·AuxK over the weights of one SAE, float32 on the CPU; buffers are kept.

    ::

        e          = x − b_dec − z W_dec                      c = 2 / (rows · total variance)
        ∂L/∂a_j    = −c · e · W_dec[j]                        for the active latents j of a row
        ∂L/∂W_dec  = −c · Σ_rows a_j e                        ∂L/∂W_enc[j] = Σ_rows ∂L/∂a_j (x − b_dec)
        ∂L/∂b_dec  = −c · Σ_rows e − Σ_j ∂L/∂b_enc[j] W_enc[j]

    AuxK adds the same with e for x − b_dec, the dead latents for all, and α·c for c (`losses.auxk`). Each latent's
    gradient is a sum over rows in their order, so any number of threads gives the same bits.

    Parameters
    ----------
    sae : its parameters are read, and their ``grad`` is written, by every call.
    threads : that share the rows, then the latents.
    """

    def __init__(self, sae: SparseAutoencoder, threads: int) -> None:
        self.sae, self.threads = sae, threads
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        self._encoders = [BlockEncoder(sae.num_latents, 1024) for _ in range(threads)]
        self._gradients = {name: torch.zeros_like(weights) for name, weights in sae.named_parameters()}
        for name, weights in sae.named_parameters():
            weights.grad = self._gradients[name]
        self._buffers: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def __call__(
        self, x: torch.Tensor, dead_ids: torch.Tensor, total_variance: float, alpha: float, limit: int | None
    ) -> StepLoss:
        """Compute loss and gradients of a batch.

        Parameters
        ----------
        x : (batch, d) float32
        dead_ids : (n_dead,) int64, rising.
        total_variance : mean of ‖x − mean(x)‖² over the training set.
        alpha : weight of AuxK.
        limit : dead latents that may be active for a row; d/2 where None.
        """
        sae = self.sae
        rows = len(x)
        factor = 2.0 / (rows * total_variance)
        centred = x - sae.b_dec
        rest = self._buffer("rest", (rows, sae.dimension), np.float32)
        for gradient in self._gradients.values():
            gradient.zero_()
        squares, active, fired = self._add_term("live", centred, centred.numpy(), rest, None, sae.k, factor)
        auxiliary = 0.0
        k_aux = min(limit or sae.dimension // 2, len(dead_ids))
        if alpha and k_aux:
            rest_aux = self._buffer("rest_aux", rest.shape, np.float32)
            squares_aux, _, _ = self._add_term("dead", centred, rest, rest_aux, dead_ids, k_aux, alpha * factor)
            auxiliary = squares_aux / (rows * total_variance)
        sums = -factor * rest.sum(0, dtype=np.float64)
        self._gradients["b_dec"].copy_(torch.from_numpy(sums.astype(np.float32)))
        self._gradients["b_dec"].sub_(self._gradients["b_enc"] @ sae.W_enc)
        terms = torch.tensor([squares / (rows * total_variance), auxiliary, active / rows], dtype=torch.float64)
        return StepLoss(terms[0], terms[1], terms[2], torch.from_numpy(fired))

    def _add_term(
        self,
        name: str,
        centred: torch.Tensor,
        target: np.ndarray,
        rest: np.ndarray,
        latents: torch.Tensor | None,
        k: int,
        factor: float,
    ) -> tuple[float, int, np.ndarray]:
        """Add factor/2 · Σ‖target − z W_dec‖² of one choice of latents; return Σ, count of actives, who fired."""
        sae = self.sae
        rows = len(centred)
        W_enc, b_enc = sae.W_enc.detach(), sae.b_enc.detach()
        if latents is not None:
            W_enc, b_enc = W_enc[latents], b_enc[latents]
        W_dec = sae.W_dec.detach().numpy()
        activations = self._buffer(f"activations {name}", (rows, k), np.float32)
        latent_ids = self._buffer(f"latent_ids {name}", (rows, k), np.int32)
        by_activation = self._buffer(f"by_activation {name}", (rows, k), np.float32)
        names = None if latents is None else latents.numpy()

        def of_rows(number: int, begin: int, end: int) -> float:
            self._encoders[number].encode(
                centred[begin:end], W_enc, b_enc, activations[begin:end], latent_ids[begin:end]
            )
            if names is not None:
                latent_ids[begin:end] = names[latent_ids[begin:end]]
            chosen = (activations[begin:end], latent_ids[begin:end], W_dec)
            squares = subtract_decoded(target[begin:end], *chosen, rest[begin:end])
            activation_gradients(rest[begin:end], factor, *chosen, by_activation[begin:end])
            return float(squares)

        squares = sum(self._share(of_rows, rows))
        starts = self._buffer("starts", (sae.num_latents + 1,), np.int64)
        entries = self._buffer(f"entries {name}", (rows * k,), np.int64)
        sort_by_latent(activations, latent_ids, starts, entries)
        gradients = [self._gradients[name].numpy() for name in ("W_enc", "b_enc", "W_dec")]
        firing = np.flatnonzero(np.diff(starts))

        def of_latents(number: int, begin: int, end: int) -> None:
            add_weight_gradients(
                firing[begin:end],
                starts,
                entries,
                activations,
                by_activation,
                centred.numpy(),
                rest,
                factor,
                *gradients,
            )

        self._share(of_latents, len(firing))
        return squares, int(starts[-1]), firing

    def _share(self, work: Callable[[int, int, int], Any], count: int) -> list[Any]:
        """Run ``work(number, begin, end)`` for an equal run of `count` in each thread."""
        bounds = [count * number // self.threads for number in range(self.threads + 1)]
        return list(self._pool.map(work, range(self.threads), bounds[:-1], bounds[1:]))

    def _buffer(self, name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
        size = int(np.prod(shape))
        kept = self._buffers.get(name)
        if kept is None or len(kept) < size:
            kept = self._buffers[name] = np.empty(size, dtype=kind)
        return kept[:size].reshape(shape)
