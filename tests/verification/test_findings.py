"""The first lines of a summary: what was found, beside every baseline, and nothing where nothing was measured."""

from __future__ import annotations

import pytest

from recsae_lib.verification.figures import Figures
from recsae_lib.verification.findings import COLUMNS, better_baselines, headline, key_figures, unit_rows

FIGURES: dict[tuple[str, str], float | None] = {
    ("sae", "live_units"): 55.0,
    ("sae", "seeds"): 2.0,
    ("sae", "interpretable_units"): 12.0,
    ("sae", "interpretable_units_mean"): 11.0,
    ("sae", "interpretable_units_high"): 12.96,
    ("sae", "confirmed_units"): 9.0,
    ("sae", "confirmed_units_mean"): 8.5,
    ("sae", "confirmed_units_high"): 9.48,
    ("sae", "found_again_share"): 0.7,
    ("sae", "mean_hard_auc"): 0.8125,
    ("sae", "mean_removal_effect"): 0.25,
    ("sae", "mean_removal_equal_dose"): None,
    ("sae", "feature_coverage_of_confirmed"): 0.5,
    ("shuffled", "live_units"): 55.0,
    ("shuffled", "interpretable_units"): 1.0,
    ("cluster", "live_units"): 60.0,
    ("cluster", "interpretable_units"): 14.0,
    ("cluster", "confirmed_units"): 3.0,
    ("cluster", "found_again_share"): 0.4,
    ("cluster", "mean_hard_auc"): float("nan"),
    ("dimension", "live_units"): 127.0,
    ("dimension", "interpretable_units"): 3.0,
    ("dimension", "confirmed_units"): 0.0,
    ("dimension", "found_again_share"): 1.0,
}


def without(*metrics: str) -> Figures:
    return {key: value for key, value in FIGURES.items() if key[1] not in metrics}


def test_the_headline_counts_confirmed_concepts() -> None:
    assert headline(FIGURES) == (
        "9 of 55 live latents are confirmed concepts (8.5 ± 1.0 over 2 seeds); k-means clusters give 3, raw dimensions "
        "0"
    )
    untrained = {("untrained", name): FIGURES["cluster", name] for name in ("confirmed_units", "found_again_share")}
    assert "; an untrained dictionary gives 3, k-means clusters 3, " in headline({**FIGURES, **untrained})


def test_one_seed_has_no_interval() -> None:
    assert headline(without("confirmed_units_mean", "confirmed_units_high")).startswith(
        "9 of 55 live latents are confirmed concepts; "
    )


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("mean_removal_effect", "what removing a unit does is not measured"),
        ("found_again_share", "there is no dictionary of another seed"),
    ],
)
def test_what_cannot_be_confirmed_is_no_zero(metric: str, reason: str) -> None:
    figures = without(metric)
    assert headline(figures) == (f"12 of 55 live latents are interpretable; none can be confirmed: {reason}")
    assert [row[COLUMNS.index("confirmed")] for row in unit_rows(figures)] == ["–"] * 4
    assert [row[-1] for row in unit_rows(figures)] == ["–"] * 4


def test_a_baseline_with_more_is_named() -> None:
    sentence = "K-means clusters: more interpretable units than the SAE (14 against 11.0 ± 2.0)"
    assert better_baselines(FIGURES) == [sentence]
    more = {**FIGURES, ("cluster", "confirmed_units"): 9.0}
    assert better_baselines(more) == [f"{sentence} and more confirmed units than the SAE (9 against 8.5 ± 1.0)"]


def test_as_many_are_not_more() -> None:
    assert better_baselines({**FIGURES, ("cluster", "interpretable_units"): 11.0}) == []


def test_every_judged_kind_has_a_row_without_nulls() -> None:
    assert unit_rows(FIGURES) == [
        ["SAE", "55", "11.0 ± 2.0", "8.5 ± 1.0", "0.812", "25.0%", "–", "70%", "–", "–", "50.0%"],
        ["SAE, shuffled labels", "55", "1", "–", "–", "–", "–", "–", "–", "–", "–"],
        ["clusters", "60", "14", "3", "–", "–", "–", "40%", "–", "–", "–"],
        ["dimensions", "127", "3", "0", "–", "–", "–", "100%", "–", "–", "–"],
    ]


def test_key_figures_are_those_that_were_measured() -> None:
    assert key_figures(FIGURES) == {
        "live_units": 55.0,
        "interpretable_units": 12.0,
        "confirmed_units": 9.0,
        "feature_coverage_of_confirmed": 0.5,
    }
    assert key_figures(without("mean_removal_effect")) == {"live_units": 55.0, "interpretable_units": 12.0}
