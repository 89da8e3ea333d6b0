"""Exact top-k encoding on a CPU: a product of a few rows and latents at a time, searched while it is in cache."""

from __future__ import annotations

import numpy as np
import torch

from recsae_lib.sae.kernels.selection import RUN, SMALLEST, keep_top

PART_LATENTS = 2048  # of a block of pre-activations
BLOCK_FLOATS = 2**18  # of such a block: 1 MiB stays in cache while it is searched


class BlockEncoder:
    """Finds the k largest activations of rows without a rows × M matrix; has its own buffers, so one a thread.

    Parameters
    ----------
    most_latents : largest number of latents that it is given.
    """

    def __init__(self, most_latents: int) -> None:
        self.width = min(most_latents, PART_LATENTS)
        self.rows = max(BLOCK_FLOATS // self.width, 1)
        self._block = torch.empty(self.rows * self.width)
        self._maxima = np.empty(self.width + RUN, dtype=np.float32)
        self._values = np.empty(self.width + most_latents + RUN, dtype=np.float32)
        self._ids = np.empty(self.width + most_latents + RUN, dtype=np.int32)

    def encode(
        self,
        centred: torch.Tensor,
        W_enc: torch.Tensor,
        b_enc: torch.Tensor,
        activations: np.ndarray,
        latent_ids: np.ndarray,
        threshold: float = 0.0,
    ) -> None:
        """Write the k largest activations of each row, falling, equal ones by id; 0 and 0 behind them.

        Parameters
        ----------
        centred : (rows, d): x − b_dec.
        W_enc, b_enc : (latents, d) and (latents,)
        activations, latent_ids : (rows, k) float32 and int32, written.
        threshold : what does not reach it is not active.
        """
        activations[:], latent_ids[:] = 0.0, 0
        for begin in range(0, len(centred), self.rows):
            end = min(begin + self.rows, len(centred))
            for first in range(0, len(W_enc), self.width):
                part = W_enc[first : first + self.width]
                block = self._block[: (end - begin) * len(part)].view(end - begin, len(part))
                torch.mm(centred[begin:end], part.T, out=block)
                bias = b_enc[first : first + self.width].numpy()
                self.keep(block.numpy(), bias, first, activations[begin:end], latent_ids[begin:end], threshold)

    def keep(
        self,
        products: np.ndarray,
        bias: np.ndarray,
        first_latent: int,
        activations: np.ndarray,
        latent_ids: np.ndarray,
        threshold: float = 0.0,
    ) -> None:
        """Merge the pre-activations of a part, products + bias, into what is kept (`selection.keep_top`)."""
        lowest = max(np.float32(threshold), SMALLEST)
        buffers = (self._maxima, self._values, self._ids)
        keep_top(products, bias, first_latent, activations, latent_ids, lowest, *buffers)
