from __future__ import annotations

import pytest

from recsae_lib.tuning.effects import Effect
from recsae_lib.tuning.findings import FEATURE, POPULARITY, winner


def effects(metric: str, **values: float) -> list[Effect]:
    return [Effect(name, "overlap", 1.0, metric, value, value - 0.02, value + 0.02) for name, value in values.items()]


@pytest.mark.parametrize(
    ("of_sae", "expected"),
    [
        (0.1, "re-ranking (+0.300 [+0.280, +0.320]) moves the share of the feature further than"),
        (0.27, "re-ranking (+0.300 [+0.280, +0.320]) moves the share of the feature no further than"),
        (0.4, "the SAE's latents move the share of the feature furthest: +0.400"),
    ],
)
def test_the_winner_is_named_also_when_it_is_not_the_sae(of_sae: float, expected: str) -> None:
    sentence = winner(effects(FEATURE, untuned=0.0, sae=of_sae, noise=0.01, re_ranking=0.3), "overlap")
    assert sentence is not None
    assert expected in sentence


def test_less_popular_is_better_where_re_ranking_goes_there() -> None:
    sentence = winner(effects(POPULARITY, untuned=100.0, sae=60.0, re_ranking=80.0), "overlap")
    assert sentence is not None
    assert "the SAE's latents move average popularity furthest: 60.0" in sentence


def test_less_of_a_feature_is_further_down() -> None:
    sentence = winner(effects(FEATURE, untuned=0.0, sae=-0.1, re_ranking=-0.3), "overlap")
    assert sentence is not None
    assert "re-ranking (-0.300" in sentence


def test_without_figures_nobody_wins() -> None:
    assert winner([], "overlap") is None
    assert winner(effects(FEATURE, untuned=0.0, sae=0.1, re_ranking=0.2), "ndcg") is None
