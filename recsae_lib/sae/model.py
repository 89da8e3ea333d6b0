"""The TopK sparse autoencoder: parameters, initialisation, encode and decode."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.errors import InputError
from recsae_lib.sae.kernels.block_encoder import BlockEncoder
from recsae_lib.sae.kernels.device_encoder import encode_on_device, pre_activations_at


class SparseAutoencoder(torch.nn.Module):
    """TopK sparse autoencoder of representations (METHOD.md section 2; RecSAE, arXiv 2411.06112).

    ::

        a  = ReLU(W_enc (x − b_dec) + b_enc)     a ∈ R^M
        z  = TopK_k(a), where a ≥ θ              at most k non-zero
        x̂  = z W_dec + b_dec                     rows of W_dec have unit norm

    Sparse vectors z are held as k activations with their latent ids. x is a raw representation: training folds its
    scaling into the weights.

    Parameters
    ----------
    W_enc : (M, d), one row a latent, so that the pre-activations of a batch are ``(x − b_dec) @ W_enc.T + b_enc``.
    b_enc : (M,)
    W_dec : (M, d), rows of unit norm: the direction that a latent writes.
    b_dec : (d,)
    k : latents that may be active for a row, at most M.
    threshold : θ, the activation below which none is; 0 for TopK, learnt by BatchTopK.
    """

    def __init__(
        self,
        W_enc: torch.Tensor,
        b_enc: torch.Tensor,
        W_dec: torch.Tensor,
        b_dec: torch.Tensor,
        k: int,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.W_enc = torch.nn.Parameter(W_enc)
        self.b_enc = torch.nn.Parameter(b_enc)
        self.W_dec = torch.nn.Parameter(W_dec)
        self.b_dec = torch.nn.Parameter(b_dec)
        self.num_latents, self.dimension = W_dec.shape
        if not 1 <= k <= self.num_latents:
            raise InputError(
                f"k is {k}, with {self.num_latents} latents", "Set sae.k between 1 and the latents' number"
            )
        self.k, self.threshold = k, threshold

    @classmethod
    def initialise(cls, sample: torch.Tensor, num_latents: int, k: int, seed: int) -> SparseAutoencoder:
        """Draw random unit rows of W_dec and set W_enc = W_dec, b_enc = 0, b_dec = mean(sample).

        The norm of W_enc decides how far a step of Adam turns a row, and how many latents die. It suits rows x of unit
        variance a dimension as it is; rescaled to ‖x̂‖ ≈ ‖x‖, as is usual, it becomes .76 on representations of SASRec
        and leaves 28 % of the latents dead instead of 8 %, and 1.4 on planted dictionaries, which are then found later.

        Parameters
        ----------
        sample : (n, d) float32 representations.
        """
        dimension = sample.shape[1]
        directions = torch.randn(num_latents, dimension, generator=torch.Generator().manual_seed(seed))
        W_dec = F.normalize(directions).to(sample.device)
        return cls(W_dec.clone(), sample.new_zeros(num_latents), W_dec, sample.mean(0), k)

    @torch.no_grad()
    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the k largest activations of each row and their latents, without gradient.

        Parameters
        ----------
        x : (batch, d) representations.

        Returns
        -------
        activations : (batch, k), falling; equal ones stand by latent id. Zero where fewer than k latents fire.
        latent_ids : (batch, k) int64; 0 where the activation is zero.

        Raises
        ------
        InputError : a representation holds NaN or an infinite number.
        """
        refuse_not_finite(x)
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return encode_on_device(x - self.b_dec, self.W_enc, self.b_enc, self.k, self.threshold)
        activations = np.empty((len(x), self.k), dtype=np.float32)
        latent_ids = np.empty((len(x), self.k), dtype=np.int32)
        self.encode_centred(BlockEncoder(self.num_latents), x - self.b_dec, activations, latent_ids)
        return torch.from_numpy(activations), torch.from_numpy(latent_ids).long()

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """W_enc (x − b_dec) + b_enc of (batch, d) rows: a whole (batch, M) matrix."""
        return torch.addmm(self.b_enc, x - self.b_dec, self.W_enc.T)

    @torch.no_grad()
    def encode_centred(
        self, encoder: BlockEncoder, centred: torch.Tensor, activations: np.ndarray, latent_ids: np.ndarray
    ) -> None:
        """Encode float32 rows x − b_dec on the CPU with the buffers of `encoder`, into arrays as of `encode`."""
        encoder.encode(centred, self.W_enc, self.b_enc, activations, latent_ids, self.threshold)

    def decode(self, activations: torch.Tensor, latent_ids: torch.Tensor) -> torch.Tensor:
        """Reconstruct (batch, d) representations x̂ from (batch, k) activations and latent ids."""
        return F.embedding_bag(latent_ids, self.W_dec, per_sample_weights=activations, mode="sum") + self.b_dec

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct (batch, d) representations."""
        return self.reconstruct(x)[0]

    def reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return x̂ (batch, d), with gradient, and the activations and latent ids that `encode` found.

        The latents are chosen without gradient and only the chosen ones are computed again with it: the same gradient
        as through the whole (batch, M) product, at k/M of its cost.
        """
        activations, latent_ids = self.encode(x)
        differentiable = self.activations_at(x, activations, latent_ids)
        return self.decode(differentiable, latent_ids), activations, latent_ids

    def activations_at(self, x: torch.Tensor, activations: torch.Tensor, latent_ids: torch.Tensor) -> torch.Tensor:
        """Compute the active ones of `activations` again, with gradient; (batch, k)."""
        differentiable = pre_activations_at(x - self.b_dec, self.W_enc, self.b_enc, latent_ids)
        # Places without an active latent carry id 0, which is none of theirs.
        return differentiable * (activations > 0)

    def scaled(self, scale: float) -> SparseAutoencoder:
        """Copy that does to ``scale·x`` what this one does to x: activations and x̂ come out times `scale`.

        Both are homogeneous in (x, b_enc, b_dec, θ), so the weights stay.
        """
        with torch.no_grad():
            biases = self.b_enc * scale, self.b_dec * scale
            return SparseAutoencoder(
                self.W_enc.clone(), biases[0], self.W_dec.clone(), biases[1], self.k, self.threshold * scale
            )


def refuse_not_finite(x: torch.Tensor) -> None:
    """Raise InputError where a representation holds NaN or an infinite number."""
    if not math.isfinite(x.sum()) and not x.isfinite().all():  # the sum is finite almost always, and cheaper
        raise InputError(
            "A representation holds NaN or an infinite number", "Look at the recommender and its training, then extract"
        )
