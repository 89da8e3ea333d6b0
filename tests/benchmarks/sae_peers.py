"""Other trainers of TopK sparse autoencoders, installed from their packages into a folder of their own."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import torch

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

Step = Callable[[torch.Tensor], None]


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


def sparsify_step(dimension: int, num_latents: int, k: int, dead: torch.Tensor, alpha: float) -> Step:
    """One step of sparsify's SparseCoder as its trainer makes it, with the same optimiser as ours.

    Parameters
    ----------
    dead : (M,) whether a latent counts as dead.
    """
    from sparsify import SparseCoder, SparseCoderConfig

    torch.manual_seed(0)
    sae = SparseCoder(dimension, SparseCoderConfig(num_latents=num_latents, k=k))
    optimiser = torch.optim.Adam(sae.parameters(), lr=1e-4, fused=True)

    def step(x: torch.Tensor) -> None:
        out = sae(x, dead_mask=dead)
        (out.fvu + alpha * out.auxk_loss).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        sae.set_decoder_norm_to_unit_norm()

    return step


def dictionary_learning_step(dimension: int, num_latents: int, k: int, dead: torch.Tensor, alpha: float) -> Step:
    """One step of dictionary_learning's TopKTrainer; parameters as `sparsify_step`."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        10_000, dimension, num_latents, k, layer=0, lm_name="", lr=1e-4, auxk_alpha=alpha, seed=0, device="cpu"
    )
    number = 0

    def step(x: torch.Tensor) -> None:
        nonlocal number
        trainer.num_tokens_since_fired[dead] = trainer.dead_feature_threshold
        trainer.update(number, x)
        number += 1

    return step
