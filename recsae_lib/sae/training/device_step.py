"""Loss and gradients of the sparse autoencoder on a GPU, or any device of torch (METHOD.md section 2)."""

from __future__ import annotations

import logging

import torch

from recsae_lib.config import SaeSettings
from recsae_lib.sae.kernels.device_encoder import BLOCK_FLOATS, encode_on_device, row_blocks
from recsae_lib.sae.losses import StepLoss, auxiliary_k, auxk, fvu, prefix_fvu, prefix_groups
from recsae_lib.sae.model import SparseAutoencoder, refuse_not_finite

GATE_STEPS = 256  # between two comparisons of rounded products with exact ones
GATE_FVU = 1.001  # FVU that rounded products may cost, as a factor

log = logging.getLogger("recsae")


class DeviceStep:
    """What `SparseStep` does, by autograd and in blocks of rows, so that no batch × M matrix is held.

    Where the device multiplies bfloat16 fast, the encoder's products, which only choose latents, are rounded to it.
    Weights, the activations of what is chosen, loss and gradients stay float32. At the first step, and every
    `GATE_STEPS` after, the batch is reconstructed either way: rounding goes on only if FVU grows by `GATE_FVU` at most.

    Parameters
    ----------
    sae : its parameters are read, and their ``grad`` is written, by every call.
    settings : variant and AuxK.
    may_round : whether to try rounded products; by default where CUDA has them in hardware.
    block_floats : numbers that a block may hold for each of its purposes.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        settings: SaeSettings,
        may_round: bool | None = None,
        block_floats: int = BLOCK_FLOATS,
    ) -> None:
        self.sae, self.settings, self._block_floats = sae, settings, block_floats
        self._group_of = torch.from_numpy(prefix_groups(settings, sae.num_latents)).to(sae.W_dec.device)
        self._may_round = _multiplies_bfloat16(sae.W_dec.device) if may_round is None else may_round
        self.rounds = False
        self._steps = 0

    def __call__(self, x: torch.Tensor, dead_ids: torch.Tensor, total_variance: float) -> StepLoss:
        """As `SparseStep`; activations that tie for the last place of a batch are all kept."""
        sae, settings = self.sae, self.settings
        for weights in sae.parameters():
            weights.grad = torch.zeros_like(weights)
        if not len(x):  # another process has rows left
            nothing = x.new_zeros(())
            return StepLoss(nothing, nothing, nothing, nothing, dead_ids[:0], 0)
        refuse_not_finite(x)
        if self._may_round and self._steps % GATE_STEPS == 0:
            self._decide_rounding(x, total_variance)
        self._steps += 1
        chosen, latent_ids, lowest = self._choose(x)
        k_aux = auxiliary_k(settings, sae.dimension, len(dead_ids))
        floats_a_row = max(chosen.shape[1] * sae.dimension, len(dead_ids), k_aux)
        sums = x.new_zeros(2)
        for rows in row_blocks(len(x), floats_a_row, self._block_floats):
            share = (rows.stop - rows.start) / len(x)
            block, ids = x[rows], latent_ids[rows]
            activations = sae.activations_at(block, chosen[rows], ids)
            x_hat = sae.decode(activations, ids)
            loss = prefix_fvu(sae, block, activations, ids, self._group_of, total_variance)
            auxiliary = auxk(sae, block, x_hat, dead_ids, total_variance, k_aux)
            (share * (loss + settings.auxiliary_coefficient * auxiliary)).backward()
            sums += share * torch.stack([fvu(block, x_hat, total_variance), auxiliary]).detach()
        active = chosen > 0
        return StepLoss(sums[0], sums[1], active.sum(1).float().mean(), lowest, latent_ids[active], len(x))

    @torch.no_grad()
    def _choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return activations and latents of each row, and for BatchTopK the smallest activation (else 0)."""
        sae = self.sae
        if self.settings.variant != "batch_top_k":
            return (*self._encode(x, sae.k), x.new_zeros(()))
        number, candidates = sae.k * len(x), sae.k
        while True:
            activations, latent_ids = self._encode(x, candidates)
            largest = activations.flatten().topk(number).values
            lowest = torch.where(largest > 0, largest, torch.inf).min()
            # A full list whose last one is active may have left out more that are.
            if candidates == sae.num_latents or not (activations[:, -1] >= lowest).any():
                activations = torch.where(activations >= lowest, activations, 0)
                ids = latent_ids.masked_fill(activations == 0, 0)
                return activations, ids, torch.where(lowest.isfinite(), lowest, 0)
            candidates = min(2 * candidates, sae.num_latents)

    def _encode(self, x: torch.Tensor, k: int, rounded: bool | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        sae, rounded = self.sae, self.rounds if rounded is None else rounded
        centred = x - sae.b_dec
        return encode_on_device(centred, sae.W_enc, sae.b_enc, k, 0.0, rounded, self._block_floats)

    @torch.no_grad()
    def _decide_rounding(self, x: torch.Tensor, total_variance: float) -> None:
        """Set `rounds` by what the batch loses."""
        fvus = [
            float(fvu(x, self.sae.decode(*self._encode(x, self.sae.k, rounded)), total_variance))
            for rounded in (False, True)
        ]
        fits = fvus[1] <= GATE_FVU * fvus[0]
        if fits != self.rounds or not self._steps:
            log.info(
                "Products of the encoder are %s: FVU of a batch is %.6f with bfloat16, %.6f without",
                "bfloat16" if fits else "float32",
                fvus[1],
                fvus[0],
            )
        self.rounds = fits


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 products in hardware: CUDA from compute capability 8 on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
