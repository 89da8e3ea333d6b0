"""What reconstruction keeps of a recommender's accuracy: rankings made from x̂ against rankings made from x."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from recsae_lib.errors import InputError
from recsae_lib.recommenders.evaluation import ranking_metrics, target_ranks
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.representations.held_out import HeldOutUsers
from recsae_lib.sae.model import SparseAutoencoder


@dataclass(frozen=True)
class Fidelity:
    """Accuracy on held-out items with x and with x̂ (method.md section 7), by metric name such as ``ndcg@10``."""

    original: dict[str, float]
    reconstructed: dict[str, float]

    def kept(self) -> dict[str, float]:
        """Share of each metric that reconstruction keeps, where there is any to keep: 1 − relative loss."""
        return {name: self.reconstructed[name] / value for name, value in self.original.items() if value > 0}


@torch.no_grad()
def measure_fidelity(sae: SparseAutoencoder, recommender: Recommender, held_out: Iterable[HeldOutUsers]) -> Fidelity:
    """Rank every user's next item twice, by scores from x and from x̂, over the full catalogue, seen items masked.

    Parameters
    ----------
    held_out : blocks of users; scores of one block at a time are held, never users × items.

    Raises
    ------
    InputError : nobody is held out, or x has not the SAE's dimension.
    """
    device = sae.W_dec.device
    original: list[torch.Tensor] = []
    reconstructed: list[torch.Tensor] = []
    for users in held_out:
        if users.representations.shape[1] != sae.dimension:
            raise InputError(
                f"Held-out representations have {users.representations.shape[1]} dimensions, the SAE takes "
                f"{sae.dimension}",
                "Run extract_representations again, then train_sae",
            )
        x_hat = sae(users.representations.to(device)).cpu()
        for x, ranks in ((users.representations, original), (x_hat, reconstructed)):
            ranks.append(target_ranks(recommender.score(x), users.targets, users.seen_offsets, users.seen_items))
    if not original:
        raise InputError(
            "No user is held out, so that nothing tells what reconstruction keeps",
            "Give the recommender users with three interactions or more",
        )
    return Fidelity(ranking_metrics(torch.cat(original)), ranking_metrics(torch.cat(reconstructed)))
