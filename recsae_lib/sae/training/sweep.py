"""Several SAEs side by side: what each came to, and which one is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

from recsae_lib.config import CheckSettings, Settings
from recsae_lib.config.sae import SaeVariation
from recsae_lib.sae.training.one_sae import SaeChoice


@dataclass(frozen=True)
class SweepResult:
    """What one of the SAEs came to.

    Parameters
    ----------
    choice : its settings.
    fvu_within_reach, dead_fraction, l0 : on the training rows.
    kept : share of dev NDCG@10 that its reconstructions keep; None where nobody is held out.
    """

    choice: SaeChoice
    fvu_within_reach: float
    dead_fraction: float
    l0: float
    kept: float | None

    def row(self) -> dict[str, object]:
        """A line of the table of results."""
        settings = self.choice.settings
        return {
            "k": settings.k,
            "expansion_factor": settings.expansion_factor,
            "variant": settings.variant,
            "seed": self.choice.seed,
            "fvu_within_reach": self.fvu_within_reach,
            "l0": self.l0,
            "dead_fraction": self.dead_fraction,
            "dev_ndcg_at_10_kept": self.kept,
        }


@dataclass(frozen=True)
class Contender:
    """A registered SAE of a sweep that an audit may take.

    Parameters
    ----------
    version : in the registry.
    folder : of its weights, with its replicas.
    kept : as in `SweepResult`.
    num_latents : M.
    """

    version: int
    folder: Path
    kept: float | None
    num_latents: int


def choices_of(settings: Settings, grid: Sequence[SaeVariation] = ()) -> list[SaeChoice]:
    """Return the SAEs to train: one for each entry of ``sae.sweep``, or the one that the settings describe.

    Parameters
    ----------
    grid : the entries where ``sae.sweep`` is auto.
    """
    choices = []
    for entry in (grid if settings.sae.sweep == "auto" else settings.sae.sweep) or (None,):
        changes = {} if entry is None else entry.model_dump(exclude_none=True)
        seed = int(changes.pop("seed", settings.seed))
        choices.append(SaeChoice(settings.sae.model_copy(update={**changes, "sweep": ()}), seed))
    return choices


def with_replicas(choices: Sequence[SaeChoice], replicas: int) -> list[SaeChoice]:
    """Return each choice, followed by its replicas: the same settings, begun at random by seeds that no choice has.

    The seeds are the first ones after that of the choice.
    """
    taken = {choice.seed for choice in choices}
    every = []
    for choice in choices:
        free = (seed for seed in count(choice.seed + 1) if seed not in taken)
        others = enumerate(islice(free, replicas), start=1)
        every += [choice, *(replace(choice, seed=seed, start=None, replica=number) for number, seed in others)]
    return every


def best_of(results: Sequence[SweepResult], limits: CheckSettings) -> int:
    """Return the place of the sparsest SAE that an audit would pass without a warning: smallest k, then lowest FVU
    within reach.

    It must keep ``minimum_ndcg_kept`` of dev NDCG@10 (where that was measured), have no more dead latents than
    ``maximum_dead_fraction`` and no higher FVU than ``maximum_fvu``. Where none does, it is the one of the lowest FVU.
    """

    def passes(result: SweepResult) -> bool:
        return (
            (result.kept is None or result.kept >= limits.minimum_ndcg_kept)
            and result.dead_fraction <= limits.maximum_dead_fraction
            and result.fvu_within_reach <= limits.maximum_fvu
        )

    good = [place for place, result in enumerate(results) if passes(result)]
    if good:
        return min(good, key=lambda place: (results[place].choice.settings.k, results[place].fvu_within_reach))
    return min(range(len(results)), key=lambda place: results[place].fvu_within_reach)
