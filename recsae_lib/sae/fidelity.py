"""What reconstruction keeps of a recommender's accuracy: rankings made from x̂ against rankings made from x."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from recsae_lib.errors import InputError
from recsae_lib.recommenders.evaluation import LIST_LENGTH, ranking_metrics, repeated_target_share, target_ranks
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.top_items import top_items
from recsae_lib.representations.held_out import HeldOutUsers
from recsae_lib.sae.model import SparseAutoencoder


@dataclass(frozen=True)
class Fidelity:
    """What recommendations are made of x and of x̂ (METHOD.md section 7).

    Parameters
    ----------
    original, reconstructed : accuracy on held-out items by metric name such as ``ndcg@10``.
    overlap : mean share of a user's first `LIST_LENGTH` unseen items that are the same; 1 where everybody has seen all.
    repeated_targets : share of the users who had seen their held-out item before: a miss by x as by x̂.
    """

    original: dict[str, float]
    reconstructed: dict[str, float]
    overlap: float
    repeated_targets: float

    def kept(self) -> dict[str, float]:
        """Share of each metric that reconstruction keeps, where there is any to keep: 1 − relative loss."""
        return {name: self.reconstructed[name] / value for name, value in self.original.items() if value > 0}

    def by_name(self) -> dict[str, float]:
        """All figures in one: ``original_…``, ``reconstructed_…``, ``…_kept`` and ``overlap@10``; `repeated_targets` is
        ``reconstructed_repeated_target_share``, as it belongs to accuracy.
        """
        return {
            **{f"original_{name}": value for name, value in self.original.items()},
            **{f"reconstructed_{name}": value for name, value in self.reconstructed.items()},
            **{f"{name}_kept": value for name, value in self.kept().items()},
            f"overlap@{LIST_LENGTH}": self.overlap,
            "reconstructed_repeated_target_share": self.repeated_targets,
        }


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
    same = places = 0
    for users in held_out:
        if users.representations.shape[1] != sae.dimension:
            raise InputError(
                f"Held-out representations have {users.representations.shape[1]} dimensions, the SAE takes "
                f"{sae.dimension}",
                "Run extract_representations again, then train_sae",
            )
        x_hat = sae(users.representations.to(device)).cpu()
        lists = []
        for x, ranks in ((users.representations, original), (x_hat, reconstructed)):
            scores = recommender.score(x).float().contiguous()
            lists.append(top_items([scores.numpy()], users.seen_offsets, users.seen_items, LIST_LENGTH)[0])
            ranks.append(target_ranks(scores, users.targets, users.seen_offsets, users.seen_items))
        both = (lists[0][:, :, None] == lists[1][:, None, :]).any(2) & (lists[0] >= 0)
        same += int(both.sum())
        places += int((lists[0] >= 0).sum())
    if not original:
        raise InputError(
            "No user is held out, so that nothing shows what reconstruction keeps",
            "Give the recommender users with three interactions or more",
        )
    overlap = same / places if places else 1.0
    from_x, from_x_hat = torch.cat(original), torch.cat(reconstructed)
    repeated = repeated_target_share(from_x)
    return Fidelity(ranking_metrics(from_x), ranking_metrics(from_x_hat), overlap, repeated)
