from __future__ import annotations

import pytest
import torch

from recsae_lib.config import CheckSettings, SaeSettings, Settings
from recsae_lib.config.sae import SaeVariation
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training.one_sae import SaeChoice
from recsae_lib.sae.training.sweep import SweepResult, best_of, choices_of, with_replicas

LIMITS = CheckSettings(maximum_fvu=0.5, maximum_dead_fraction=0.1, minimum_ndcg_kept=0.9)


def result(k: int, fvu: float, dead_fraction: float = 0.0, kept: float | None = 1.0) -> SweepResult:
    return SweepResult(SaeChoice(SaeSettings(k=k), 1), fvu, dead_fraction, float(k), kept)


@pytest.mark.parametrize(
    ("results", "best"),
    [
        ([result(16, 0.1), result(8, 0.3), result(8, 0.2)], 2),  # the sparsest, then the lowest FVU
        ([result(16, 0.1), result(8, 0.2, dead_fraction=0.11)], 0),
        ([result(16, 0.1), result(8, 0.2, kept=0.89)], 0),
        ([result(16, 0.1), result(8, 0.51)], 0),
        ([result(16, 0.1, kept=None), result(8, 0.2, kept=None)], 1),  # nobody is held out
        ([result(4, 0.7), result(16, 0.6), result(8, 0.65)], 1),  # none passes
    ],
)
def test_the_best_is_the_sparsest_that_an_audit_would_pass(results: list[SweepResult], best: int) -> None:
    assert best_of(results, LIMITS) == best


def test_each_entry_changes_what_it_names() -> None:
    settings = Settings.model_validate(
        {"seed": 5, "sae": {"k": 4, "epochs": 7, "sweep": [{"k": 9}, {"variant": "matryoshka", "seed": 6}]}}
    )
    choices = choices_of(settings)
    named = [(choice.settings.k, choice.settings.variant, choice.seed, choice.settings.epochs) for choice in choices]
    assert named == [(9, "top_k", 5, 7), (4, "matryoshka", 6, 7)]
    (alone,) = choices_of(Settings.model_validate({"seed": 5, "sae": {"k": 4}}))
    assert (alone.settings.k, alone.seed, alone.start) == (4, 5, None)


def test_an_automatic_sweep_trains_the_entries_of_the_grid() -> None:
    settings = Settings.model_validate({"seed": 5, "sae": {"k": 4, "sweep": "auto"}})
    grid = [SaeVariation(k=2, expansion_factor=1), SaeVariation(k=8, variant="batch_top_k")]
    choices = choices_of(settings, grid)
    named = [(one.settings.k, one.settings.expansion_factor, one.settings.variant) for one in choices]
    assert named == [(2, 1, "top_k"), (8, 16, "batch_top_k")]
    assert [one.settings.sweep for one in choices] == [(), ()]


def test_replicas_have_seeds_that_no_choice_has() -> None:
    start = SparseAutoencoder.initialise(torch.ones(2, 4), 64, 2, 1)
    choices = [SaeChoice(SaeSettings(k=2), 5, start), SaeChoice(SaeSettings(k=3), 6), SaeChoice(SaeSettings(k=4), 8)]
    every = with_replicas(choices, 2)
    assert [(one.settings.k, one.seed, one.replica) for one in every] == [
        *((2, 5, 0), (2, 7, 1), (2, 9, 2)),
        *((3, 6, 0), (3, 7, 1), (3, 9, 2)),
        *((4, 8, 0), (4, 9, 1), (4, 10, 2)),
    ]
    # A replica of what goes on from a champion would be the same SAE, if it went on from there too.
    assert [one.start is None for one in every[:3]] == [False, True, True]
    assert with_replicas(choices, 0) == choices
