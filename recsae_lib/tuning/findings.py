"""What a tuning showed, as people read it: which method did most, and at what price."""

from __future__ import annotations

from collections.abc import Sequence

from recsae_lib.tuning.effects import UNTUNED, Comparison, Effect
from recsae_lib.tuning.methods import RERANKING, SAE

TITLES = {
    UNTUNED: "no tuning",
    SAE: "SAE latents",
    "random_latents": "random latents",
    "untrained": "untrained dictionary",
    "cluster": "k-means cluster",
    "dimension": "raw dimension",
    "class_mean": "class mean",
    "item_mean": "item mean",
    "ridge_probe": "ridge probe",
    "scaling": "scaling of x",
    "noise": "noise",
    RERANKING: "re-ranking",
}
FEATURE, MIX, POPULARITY = "feature_share_change", "exposure_error", "average_popularity"
# What a tuning is judged by, the first that it has: its name in a sentence, and its form.
JUDGED = {
    FEATURE: ("the share of the feature", "+.3f"),
    MIX: ("the mix towards what is wanted, by exposure error,", ".3f"),
    POPULARITY: ("average popularity", ".1f"),
}


def winner(effects: Sequence[Effect], comparison: Comparison) -> str | None:
    """Say which method moved lists furthest the wanted way, beside the SAE; None where nothing was measured.

    Wanted is the way in which re-ranking goes; of a mix, less error. A method that is not sure to differ from the SAE,
    as the intervals overlap, does not win.
    """
    metrics = {effect.metric for effect in effects}
    metric = next((metric for metric in JUDGED if metric in metrics), POPULARITY)
    found = {e.method: e for e in effects if (e.metric, e.comparison) == (metric, comparison) and e.value is not None}
    if not {SAE, RERANKING, UNTUNED} <= found.keys():
        return None
    start = _value(found[UNTUNED])
    sign = 1.0 if metric != MIX and _value(found[RERANKING]) >= start else -1.0
    ranked = sorted((name for name in found if name != UNTUNED), key=lambda name: -sign * _value(found[name]))
    best, own = found[ranked[0]], found[SAE]
    at = "as many places of the lists kept" if comparison == "overlap" else "95 % of NDCG@10 kept on dev users"
    what = JUDGED[metric][0]
    if best.method == SAE:
        second = found[ranked[1]]
        first = f"the SAE's latents move {what} furthest: {_shown(own, metric)}"
        return f"With {at}, {first}; next is {_named(second, metric)}"
    if _overlap(best, own):
        return (
            f"With {at}, {_named(best, metric)} moves {what} no further than the SAE's latents, {_shown(own, metric)}"
        )
    return (
        f"With {at}, {_named(best, metric)} moves {what} further than the SAE's latents, {_shown(own, metric)}: use it"
    )


def _value(effect: Effect) -> float:
    assert effect.value is not None
    return effect.value


def _overlap(one: Effect, other: Effect) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return False
    return bool(one.low <= other.high and other.low <= one.high)  # type: ignore[operator]  # none is None


def _named(effect: Effect, metric: str) -> str:
    return f"{TITLES.get(effect.method, effect.method)} ({_shown(effect, metric)})"


def _shown(effect: Effect, metric: str) -> str:
    form = JUDGED[metric][1]
    ends = "" if effect.low is None else f" [{effect.low:{form}}, {effect.high:{form}}]"
    return f"{effect.value:{form}}{ends}"
