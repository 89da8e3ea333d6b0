"""AuxK where many of the dead latents are active for a row: products of whole matrices instead of sparse loops."""

from __future__ import annotations

import numpy as np
import torch

from recsae_lib.sae.kernels.selection import RUN, keep_largest
from recsae_lib.sae.kernels.sparse_algebra import keep_active
from recsae_lib.sae.kernels.workers import LATENT_BLOCK, ROW_BLOCK, Workers

CHUNK_ROWS = 2048  # of which activations and their gradients, rows × chosen latents, are held at a time


class DenseTerm:
    """Adds a term factor/2 · Σ‖target − z W_dec‖² over some of the latents; see `SparseStep` for the gradients.

    Parameters
    ----------
    workers : share the rows, then the latents.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._held: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def add(
        self,
        centred: torch.Tensor,
        target: torch.Tensor,
        latents: torch.Tensor,
        weights: dict[str, torch.Tensor],
        k: int,
        factor: float,
        gradients: dict[str, torch.Tensor],
    ) -> float:
        """Add the gradients of the term to `gradients` and return Σ‖target − z W_dec‖².

        Parameters
        ----------
        centred : (rows, d): x − b_dec.
        target : (rows, d)
        latents : (n,) int64, the ones that z is restricted to.
        weights, gradients : W_enc, b_enc and W_dec of the SAE, and where their derivatives go.
        k : of the chosen latents, as many as may be active for a row.
        """
        # numpy and not torch outside of the workers: torch's threads would wait for each other beside them.
        names, ids = ("W_enc", "b_enc", "W_dec"), latents.numpy()
        W_enc, b_enc, W_dec = (torch.from_numpy(weights[name].numpy()[ids]) for name in names)
        added = [np.zeros(w.shape, dtype=np.float32) for w in (W_enc, b_enc, W_dec)]
        W_enc_gradient, b_enc_gradient, W_dec_gradient = map(torch.from_numpy, added)
        count, dimension = W_dec.shape
        z, by_z, rest = self._room(count, dimension)
        squares = 0.0
        for first in range(0, len(centred), CHUNK_ROWS):
            x, aim = centred[first : first + CHUNK_ROWS], target[first : first + CHUNK_ROWS]

            def of_rows(_: int, begin: int, end: int, x: torch.Tensor = x, aim: torch.Tensor = aim) -> float:
                of_block, active = z[begin:end], z[begin:end, :count]
                torch.addmm(b_enc, x[begin:end], W_enc.T, out=active)
                keep_largest(of_block.numpy(), k)
                torch.addmm(aim[begin:end], active, W_dec, alpha=-1, out=rest[begin:end])
                torch.mm(rest[begin:end], W_dec.T, out=by_z[begin:end])
                keep_active(by_z[begin:end].numpy(), active.numpy(), -factor)
                return float(torch.linalg.vector_norm(rest[begin:end], dtype=torch.float64)) ** 2

            def of_latents(_: int, begin: int, end: int, x: torch.Tensor = x) -> None:
                here = slice(begin, end)
                W_enc_gradient[here].addmm_(by_z[: len(x), here].T, x)
                b_enc_gradient[here].add_(by_z[: len(x), here].sum(0))
                W_dec_gradient[here].addmm_(z[: len(x), here].T, rest[: len(x)], alpha=-factor)

            squares += sum(self._workers.share(of_rows, len(x), ROW_BLOCK))
            self._workers.share(of_latents, count, LATENT_BLOCK)
        for name, gradient in zip(names, added, strict=True):
            gradients[name].numpy()[ids] += gradient  # no id stands twice
        return squares

    def _room(self, count: int, dimension: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return room for activations, their gradients and residuals of a chunk."""
        if self._held is None or self._held[1].shape[1] != count:
            padded = (count + RUN - 1) // RUN * RUN  # what lies behind the chosen latents stays zero
            shapes = (CHUNK_ROWS, padded), (CHUNK_ROWS, count), (CHUNK_ROWS, dimension)
            first, second, third = (torch.from_numpy(np.zeros(shape, dtype=np.float32)) for shape in shapes)
            self._held = first, second, third
        return self._held
