"""Other trainers of TopK sparse autoencoders, installed from their packages into a folder of their own."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from pathlib import Path

import torch

ALPHA = 1 / 32
# Without what they ask of torch, numpy and pyarrow: ours are used.
PACKAGES = (
    "eai-sparsify==1.3.3",
    "dictionary-learning==0.1.0",
    "accelerate==1.15.0",
    "datasets==2.14.7",
    "docstring-parser==0.18.0",
    "einops==0.8.2",
    "huggingface-hub==0.36.2",
    "multiprocess==0.70.19",
    "natsort==8.4.0",
    "pyarrow-hotfix==0.7",
    "schedulefree==1.4.1",
    "simple-parsing==0.1.9",
    "tokenizers==0.22.2",
    "tqdm==4.70.1",
    "transformers==4.57.6",
    "xxhash==4.1.0",
)


def install(folder: Path) -> None:
    """Install the peers, once, and make them importable."""
    if not (folder / "_finished").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), *PACKAGES], check=True)
        (folder / "_finished").touch()
    sys.path.append(str(folder))
    # The file of this package imports a toolkit for language models that no trainer needs.
    package = types.ModuleType("dictionary_learning")
    package.__path__ = [str(folder / "dictionary_learning")]
    sys.modules["dictionary_learning"] = package


def rate_of(num_latents: int) -> float:
    """2e-4/√(M/2¹⁴)"""
    return 2e-4 / math.sqrt(num_latents / 2**14)


class Sparsify:
    """sparsify's SparseCoder, trained step by step as its trainer does, with the optimiser and the AuxK of ours.

    Parameters
    ----------
    learning_rate : times 2e-4/√(M/2¹⁴), the default of both packages for Adam.
    dead_after_rows : rows without firing that make a latent dead.
    """

    def __init__(
        self,
        dimension: int,
        num_latents: int,
        k: int,
        seed: int,
        dead_after_rows: int,
        learning_rate: float = 1.0,
    ) -> None:
        from sparsify import SparseCoder, SparseCoderConfig

        torch.manual_seed(seed)
        self.sae = SparseCoder(dimension, SparseCoderConfig(num_latents=num_latents, k=k))
        rate = learning_rate * rate_of(num_latents)
        self.optimiser = torch.optim.Adam(self.sae.parameters(), lr=rate, fused=True)
        self.rows_since_fired = torch.zeros(num_latents, dtype=torch.int64)
        self.dead_after_rows, self.begun = dead_after_rows, False

    def step(self, x: torch.Tensor) -> None:
        if not self.begun:
            self.sae.b_dec.data, self.begun = x.mean(0), True
        out = self.sae(x, dead_mask=self.rows_since_fired >= self.dead_after_rows)
        (out.fvu + ALPHA * out.auxk_loss).backward()
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.sae.set_decoder_norm_to_unit_norm()
        self.rows_since_fired += len(x)
        self.rows_since_fired[out.latent_indices.flatten()] = 0

    def directions(self) -> torch.Tensor:
        """(M, d), rows of unit norm."""
        return self.sae.W_dec.detach()

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x̂ and the ids of the latents that fired."""
        out = self.sae(x)
        return out.sae_out, out.latent_indices[out.latent_acts > 0].unique()


class DictionaryLearning:
    """dictionary_learning's TopKTrainer; parameters as `Sparsify`.

    Parameters
    ----------
    steps : of the whole training, over which its rate is warmed up.
    """

    def __init__(
        self,
        dimension: int,
        num_latents: int,
        k: int,
        seed: int,
        dead_after_rows: int,
        learning_rate: float = 1.0,
        steps: int = 100_000,
    ) -> None:
        from dictionary_learning.trainers.top_k import TopKTrainer

        self.trainer = TopKTrainer(
            steps,
            dimension,
            num_latents,
            k,
            layer=0,
            lm_name="",
            lr=learning_rate * rate_of(num_latents),
            auxk_alpha=ALPHA,
            warmup_steps=min(1000, steps // 10),
            seed=seed,
            device="cpu",
        )
        self.trainer.dead_feature_threshold = dead_after_rows
        self.done = 0

    def step(self, x: torch.Tensor) -> None:
        self.trainer.update(self.done, x)
        self.done += 1

    def directions(self) -> torch.Tensor:
        """(M, d), rows of unit norm."""
        return self.trainer.ae.decoder.weight.detach().T

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x̂ and the ids of the latents that fired."""
        x_hat, activations = self.trainer.ae(x, output_features=True)
        return x_hat, (activations > 0).any(0).nonzero().squeeze(1)
