"""What an audit found: in sentences, in the figures that people ask for first, and beside every baseline."""

from __future__ import annotations

from recsae_lib.platform.warehouse.tables import JUDGED_UNITS, UnitKind
from recsae_lib.verification.figures import (
    Figures,
    confirmed,
    figure,
    over_seeds,
    text,
    why_nothing_is_confirmed,
    with_interval,
)

COLUMNS = (
    "units",
    "live",
    "interpretable",
    "confirmed",
    "hard AUC",
    "removal\neffect",
    "at equal\ndose",
    "found\nagain",
    "NDCG@10\nkept",
    "features by\ninterpretable",
    "by con-\nfirmed",
)
# Behind the counts: a metric and its form, each the mean over seeds.
MEASURED = {
    "mean_hard_auc": ".3f",
    "mean_removal_effect": ".1%",
    "mean_removal_equal_dose": ".1%",
    "found_again_share": ".0%",
    "ndcg_at_10_kept": ".1%",
    "feature_coverage_of_interpretable": ".1%",
}
COUNTED = {"interpretable_units": "interpretable", "confirmed_units": "confirmed"}
IN_A_SENTENCE = {
    UnitKind.SHUFFLED: "the SAE with shuffled labels",
    UnitKind.UNTRAINED: "an untrained dictionary",
    UnitKind.UNTRAINED_FITTED: "an untrained one with a fitted decoder",
    UnitKind.CLUSTER: "k-means clusters",
    UnitKind.RANDOM_USER: "random users",
    UnitKind.DIMENSION: "raw dimensions",
}
# Of the SAE, by the name of the metric in audit_metrics, in the order in which they are shown.
KEY_FIGURES = (
    "live_units",
    "interpretable_units",
    "confirmed_units",
    "feature_coverage_of_interpretable",
    "feature_coverage_of_confirmed",
    "ndcg_at_10_kept",
)


def headline(figures: Figures) -> str:
    """Say how many latents are confirmed concepts, and how many units each baseline has that are."""
    live = text(figure(figures, UnitKind.SAE, "live_units"), ".0f")
    if reason := why_nothing_is_confirmed(figures, UnitKind.SAE):
        passed = text(figure(figures, UnitKind.SAE, "interpretable_units"), ".0f")
        return f"{passed} of {live} live latents are interpretable; none can be confirmed: {reason}"
    number = text(figure(figures, UnitKind.SAE, "confirmed_units"), ".0f")
    said = f"{number} of {live} live latents are confirmed concepts"
    if figure(figures, UnitKind.SAE, "confirmed_units_mean") is not None:
        seeds = text(figure(figures, UnitKind.SAE, "seeds"), ".0f")
        said += f" ({with_interval(figures, UnitKind.SAE, 'confirmed_units')} over {seeds} seeds)"
    kinds = [kind for kind in IN_A_SENTENCE if not why_nothing_is_confirmed(figures, kind)]
    if not kinds:
        return said
    first, *others = (confirmed(figures, kind) for kind in kinds)
    verb = "gives" if kinds[0] in (UnitKind.UNTRAINED, UnitKind.UNTRAINED_FITTED) else "give"
    listed = [f"{IN_A_SENTENCE[kinds[0]]} {verb} {first}"]
    listed += [f"{IN_A_SENTENCE[kind]} {number}" for kind, number in zip(kinds[1:], others, strict=True)]
    return f"{said}; {', '.join(listed)}"


def better_baselines(figures: Figures) -> list[str]:
    """A sentence for each baseline that has more interpretable units than the SAE, or more confirmed ones."""
    sentences = []
    for kind, name in IN_A_SENTENCE.items():
        more = []
        for metric, word in COUNTED.items():
            own, other = (over_seeds(figures, one, metric) for one in (UnitKind.SAE, kind))
            if own is not None and other is not None and other > own:
                counts = (with_interval(figures, one, metric) for one in (kind, UnitKind.SAE))
                more.append(f"more {word} units than the SAE ({' against '.join(counts)})")
        if more:
            sentences.append(f"{name[0].upper()}{name[1:]}: {' and '.join(more)}")
    return sentences


def key_figures(figures: Figures) -> dict[str, float]:
    """Figures of the SAE by name, `KEY_FIGURES`; what was not measured, or cannot be confirmed, is left out."""
    unknown = why_nothing_is_confirmed(figures, UnitKind.SAE)
    found = {name: figure(figures, UnitKind.SAE, name) for name in KEY_FIGURES if not (unknown and "confirmed" in name)}
    return {name: value for name, value in found.items() if value is not None}


def unit_rows(figures: Figures) -> list[list[str]]:
    """Rows under `COLUMNS`, one for each kind of judged units that the audit has."""
    return [
        [
            kind.heading,
            text(figure(figures, kind, "live_units"), ".0f"),
            with_interval(figures, kind, "interpretable_units"),
            confirmed(figures, kind),
            *(text(over_seeds(figures, kind, metric), form) for metric, form in MEASURED.items()),
            text(_covered_by_confirmed(figures, kind), ".1%"),
        ]
        for kind in JUDGED_UNITS
        if figure(figures, kind, "live_units") is not None
    ]


def _covered_by_confirmed(figures: Figures, kind: UnitKind) -> float | None:
    if why_nothing_is_confirmed(figures, kind):
        return None
    return over_seeds(figures, kind, "feature_coverage_of_confirmed")
