"""Figures of audit_metrics as people read them: what was not measured is a dash, and seeds stand behind a ±."""

from __future__ import annotations

import math
from collections.abc import Mapping

from recsae_lib.platform.warehouse.tables import UnitKind

NOTHING = "–"
Figures = Mapping[tuple[str, str], float | None]  # (unit kind, metric) → value


def figure(figures: Figures, kind: str, metric: str) -> float | None:
    """A figure; None where it was not measured."""
    value = figures.get((kind, metric))
    return None if value is None or math.isnan(value) else value


def over_seeds(figures: Figures, kind: str, metric: str) -> float | None:
    """Mean of a figure over dictionaries of several seeds; the figure itself where there is one dictionary."""
    mean = figure(figures, kind, f"{metric}_mean")
    return figure(figures, kind, metric) if mean is None else mean


def text(value: float | None, form: str) -> str:
    """A value in a form of `format`; a dash for nothing."""
    return NOTHING if value is None else format(value, form)


def with_interval(figures: Figures, kind: str, metric: str, form: str = ".1f") -> str:
    """Mean ± half of its 95 % interval over seeds; of one dictionary its figure, to the whole number."""
    mean, high = (figure(figures, kind, f"{metric}_{end}") for end in ("mean", "high"))
    if mean is None or high is None:
        return text(figure(figures, kind, metric), ".0f")
    return f"{mean:{form}} ± {high - mean:{form}}"


def why_nothing_is_confirmed(figures: Figures, kind: str) -> str:
    """Say what was not measured without which no unit of a kind can be confirmed; empty where all was."""
    if figure(figures, kind, "confirmed_units") is None:
        return "this audit did not ask for it"
    if all(figure(figures, other, "mean_removal_effect") is None for other in UnitKind):
        return "what removing a unit does is not measured"
    if figure(figures, kind, "found_again_share") is None:
        return "there is no dictionary of another seed"
    return ""


def confirmed(figures: Figures, kind: str) -> str:
    """Confirmed units of a kind, with their interval; a dash where none can be confirmed."""
    return NOTHING if why_nothing_is_confirmed(figures, kind) else with_interval(figures, kind, "confirmed_units")
