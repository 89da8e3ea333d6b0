"""What an audit found as a table: the concepts of the SAE beside those of every baseline."""

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
