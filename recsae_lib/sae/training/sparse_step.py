"""Encoding, loss and gradients of the sparse autoencoder on a CPU, without a batch × M matrix (METHOD.md section 2)."""

from __future__ import annotations

import numpy as np
import torch

from recsae_lib.config import SaeSettings
from recsae_lib.sae.kernels.block_encoder import BlockEncoder
from recsae_lib.sae.kernels.dense_term import DenseTerm
from recsae_lib.sae.kernels.selection import keep_reaching, n_th_largest
from recsae_lib.sae.kernels.sparse_algebra import (
    activation_gradients,
    add_weight_gradients,
    sort_by_latent,
    subtract_decoded,
)
from recsae_lib.sae.kernels.workers import LATENT_BLOCK, ROW_BLOCK, Workers
from recsae_lib.sae.losses import StepLoss, auxiliary_k, prefix_groups
from recsae_lib.sae.model import SparseAutoencoder

DENSE_RATIO = 12  # n_dead / k_aux up to which products of whole matrices are faster than loops over the active


class SparseStep:
    """Loss and gradients of L = FVU + α·AuxK over the weights of one SAE, float32 on the CPU; buffers are kept.

    ::

        e          = x − b_dec − z W_dec                      c = 2 / (rows · total variance)
        ∂L/∂a_j    = −c · e · W_dec[j]                        for the active latents j of a row
        ∂L/∂W_dec  = −c · Σ_rows a_j e                        ∂L/∂W_enc[j] = Σ_rows ∂L/∂a_j (x − b_dec)
        ∂L/∂b_dec  = −c · Σ_rows e − Σ_j ∂L/∂b_enc[j] W_enc[j]

    AuxK adds the same with e for x − b_dec, the dead latents for all, and α·c for c (`losses.auxk`). With G nested
    prefixes (`losses.prefix_fvu`) e is, for a latent, the sum of the residuals of all prefixes that hold it, and c is
    c/G. Each latent's gradient is a sum over rows in their order, so any number of threads gives the same bits.

    Gain over a peer in plain torch on the same cores, k=16, batch 4,096: 5.1 times at d=64, M=1,024, 7.2 at M=4,096,
    2.8 at d=1,024 (`make bench ONLY=sae_step`). It matters where k is far below M; delete it when `DeviceStep` is as
    fast on a CPU.

    Parameters
    ----------
    sae : its parameters are read, and their ``grad`` is written, by every call.
    settings : variant and AuxK.
    workers : share the rows, then the latents.
    """

    def __init__(self, sae: SparseAutoencoder, settings: SaeSettings, workers: Workers) -> None:
        self.sae, self.settings = sae, settings
        self._group_of = prefix_groups(settings, sae.num_latents)
        self._one_group = np.zeros_like(self._group_of)
        self._candidates = sae.k  # largest activations of a row among which the largest of the batch are looked for
        self._workers = workers
        self._encoders = [BlockEncoder(sae.num_latents) for _ in range(workers.threads)]
        self._dense = DenseTerm(self._workers)
        self._weights = {name: weights.detach() for name, weights in sae.named_parameters()}
        self._gradients = {name: torch.zeros_like(weights) for name, weights in self._weights.items()}
        for name, weights in sae.named_parameters():
            weights.grad = self._gradients[name]
        self._buffers: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, dead_ids: torch.Tensor, total_variance: float) -> StepLoss:
        """Compute loss and gradients of a batch.

        Parameters
        ----------
        x : (batch, d) float32
        dead_ids : (n_dead,) int64, rising.
        total_variance : mean of ‖x − mean(x)‖² over the training set.
        """
        rows, groups = len(x), int(self._group_of[-1]) + 1
        variance = max(rows, 1) * total_variance
        # numpy and not torch, whose threads would wait for each other beside the workers.
        centred = torch.from_numpy(x.numpy() - self._weights["b_dec"].numpy())
        for gradient in self._gradients.values():
            gradient.numpy().fill(0.0)
        chosen, lowest = self._choose(centred)
        rest = self._buffer("rest", (rows, groups, x.shape[1]), np.float32)
        factor = 2.0 / (groups * variance)
        squares, active, fired = self._add_term("live", centred, centred.numpy(), chosen, self._group_of, rest, factor)
        sums = -factor * rest[:, 0].sum(0, dtype=np.float64)
        squares_aux = self._add_auxk(centred, np.ascontiguousarray(rest[:, -1]), dead_ids, 2.0 / variance)
        self._gradients["b_dec"].copy_(torch.from_numpy(sums.astype(np.float32)))
        self._workers.share(self._centre, 1, 1)
        terms = (squares / variance, squares_aux / variance, active / max(rows, 1), lowest)
        unexplained, auxk, l0, smallest = torch.tensor(terms, dtype=torch.float64)
        return StepLoss(unexplained, auxk, l0, smallest, torch.from_numpy(fired), rows)

    def _centre(self, *_: int) -> None:
        """Take from ∂L/∂b_dec what comes through x − b_dec."""
        self._gradients["b_dec"].sub_(self._gradients["b_enc"] @ self._weights["W_enc"])

    def _choose(self, centred: torch.Tensor) -> tuple[tuple[np.ndarray, np.ndarray], float]:
        """Return the active latents of each row, and for BatchTopK the smallest activation among them (else 0)."""
        weights = self._weights["W_enc"], self._weights["b_enc"]
        if self.settings.variant != "batch_top_k":
            return self._encode("live", centred, *weights, self.sae.k), 0.0
        number = self.sae.k * len(centred)
        while True:
            activations, latent_ids = self._encode("live", centred, *weights, self._candidates)
            if not activations[:, 0].any():
                return (activations, latent_ids), 0.0
            lowest = n_th_largest(activations.reshape(-1), number)
            # A full list whose last one is active may have left out more that are.
            if self._candidates == self.sae.num_latents or not (activations[:, -1] >= lowest).any():
                keep_reaching(activations, lowest, number)
                return (activations, latent_ids), float(lowest)
            self._candidates = min(2 * self._candidates, self.sae.num_latents)

    def _add_auxk(self, centred: torch.Tensor, residual: np.ndarray, dead_ids: torch.Tensor, factor: float) -> float:
        """Add α·AuxK; return Σ‖e − ê‖²."""
        alpha = self.settings.auxiliary_coefficient
        k_aux = auxiliary_k(self.settings, self.sae.dimension, len(dead_ids))
        if not (alpha and k_aux):
            return 0.0
        if len(dead_ids) <= DENSE_RATIO * k_aux:
            target = torch.from_numpy(residual)
            arguments = (self._weights, k_aux, alpha * factor, self._gradients)
            return self._dense.add(centred, target, dead_ids, *arguments)
        weights = self._weights["W_enc"][dead_ids], self._weights["b_enc"][dead_ids]
        activations, places = self._encode("dead", centred, *weights, k_aux)
        chosen = activations, dead_ids.numpy().astype(np.int32)[places]
        rest = self._buffer("rest_aux", (len(centred), 1, self.sae.dimension), np.float32)
        return self._add_term("dead", centred, residual, chosen, self._one_group, rest, alpha * factor)[0]

    def _encode(
        self, name: str, centred: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        activations = self._buffer(f"activations {name}", (len(centred), k), np.float32)
        latent_ids = self._buffer(f"latent_ids {name}", (len(centred), k), np.int32)

        def of_rows(number: int, begin: int, end: int) -> None:
            arguments = (centred[begin:end], W_enc, b_enc, activations[begin:end], latent_ids[begin:end])
            self._encoders[number].encode(*arguments)

        self._workers.share(of_rows, len(centred), ROW_BLOCK)
        return activations, latent_ids

    def _add_term(
        self,
        name: str,
        centred: torch.Tensor,
        target: np.ndarray,
        chosen: tuple[np.ndarray, np.ndarray],
        group_of: np.ndarray,
        rest: np.ndarray,
        factor: float,
    ) -> tuple[float, int, np.ndarray]:
        """Add factor/2 · Σ_g Σ‖target − z_g W_dec‖²; return the last prefix's sum, the count of actives, who fired."""
        activations, latent_ids = chosen
        by_activation = self._buffer(f"by_activation {name}", activations.shape, np.float32)
        W_dec = self._weights["W_dec"].numpy()

        def of_rows(_: int, begin: int, end: int) -> float:
            of_block = (activations[begin:end], latent_ids[begin:end], W_dec, group_of)
            squares = subtract_decoded(target[begin:end], *of_block, rest[begin:end])
            activation_gradients(rest[begin:end], factor, *of_block, by_activation[begin:end])
            return float(squares)

        squares = sum(self._workers.share(of_rows, len(centred), ROW_BLOCK))
        starts = self._buffer("starts", (self.sae.num_latents + 1,), np.int64)
        entries = self._buffer(f"entries {name}", (activations.size,), np.int64)
        sort_by_latent(activations, latent_ids, starts, entries)
        firing = np.flatnonzero(np.diff(starts))
        gradients = [self._gradients[name].numpy() for name in ("W_enc", "b_enc", "W_dec")]
        rows = (activations, by_activation, centred.numpy(), group_of, rest)

        def of_latents(_: int, begin: int, end: int) -> None:
            add_weight_gradients(firing[begin:end], starts, entries, *rows, factor, *gradients)

        self._workers.share(of_latents, len(firing), LATENT_BLOCK)
        return squares, int(starts[-1]), firing

    def _buffer(self, name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
        size = int(np.prod(shape))
        kept = self._buffers.get(name)
        if kept is None or len(kept) < size:
            kept = self._buffers[name] = np.empty(size, dtype=kind)
        return kept[:size].reshape(shape)
