from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from recsae_lib.config import TuningSettings
from recsae_lib.errors import InputError
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.tuning.calibration import ResolvedMix
from recsae_lib.tuning.effects import MeasuredTuning, measure_tuning, tuned_lists
from recsae_lib.tuning.lists import best_lists
from recsae_lib.tuning.moves import Move, ResolvedTuning, moved
from tests.tuned_world import FEATURES, planted_world

WORLD = planted_world()


@lru_cache
def measured(**settings: object) -> MeasuredTuning:
    return measure_tuning(TuningSettings.model_validate({"name": "t", **settings}), WORLD)


def move_of(one: MeasuredTuning) -> Move:
    assert isinstance(one.resolved, ResolvedTuning)
    return one.resolved.move


def value(one: MeasuredTuning, method: str, metric: str, comparison: str = "overlap") -> float:
    found = [e for e in one.effects if (e.method, e.metric, e.comparison) == (method, metric, comparison)]
    assert len(found) == 1
    assert found[0].value is not None
    return found[0].value


def test_a_feature_is_stood_for_by_its_planted_latent() -> None:
    for place, feature in enumerate(FEATURES):
        assert move_of(measured(feature=feature)).latents.tolist() == [place]


def test_removal_takes_the_feature_out_of_the_lists() -> None:
    horror = FEATURES.index("horror")
    one = measured(latents=(horror,), mode="multiply", strength=0.0)
    before, after = value(one, "untuned", "feature_share"), value(one, "sae", "feature_share")
    assert before > 0.25
    assert after < before / 5
    assert abs(value(one, "random_latents", "feature_share_change")) < (before - after) / 5


def test_amplifying_raises_the_feature_and_a_random_latent_does_not() -> None:
    one = measured(feature="horror", overlap=0.7)
    assert value(one, "sae", "feature_share_change") > 0.15
    assert value(one, "random_latents", "feature_share_change") < 0.02
    assert value(one, "sae", "feature_share_change") > 1.5 * value(one, "untrained", "feature_share_change")


def test_less_of_a_feature_lowers_its_share() -> None:
    one = measured(feature="horror", direction="less", overlap=0.9)
    assert one.resolved.strength < 0
    assert value(one, "sae", "feature_share_change") < 0


def test_methods_are_compared_at_an_equal_overlap() -> None:
    one = measured(feature="war", overlap=0.7)
    assert one.overlap == pytest.approx(0.7, abs=0.02)
    for method in ("sae", "class_mean", "item_mean", "ridge_probe", "noise", "re_ranking"):
        assert value(one, method, "overlap@10") == pytest.approx(0.7, abs=0.06), method


def test_at_equal_accuracy_most_of_it_is_kept() -> None:
    one = measured(feature="war", overlap=0.7)
    for method in ("sae", "item_mean", "re_ranking"):
        assert value(one, method, "ndcg@10_kept", "ndcg") > 0.75, method


def test_the_rows_of_the_sae_are_what_its_strength_does() -> None:
    one = measured(feature="war", overlap=0.7)
    test, resolved = WORLD.test, one.resolved
    x = moved(test.x, *WORLD.codes(test), WORLD.decoder, move_of(one), resolved.strength)
    lists = best_lists(WORLD.recommender, test, x)
    share = WORLD.catalogue.carriers(FEATURES.index("war"))[lists].mean()
    assert value(one, "sae", "feature_share") == pytest.approx(share)


def test_named_items_are_pointed_at_by_their_latents() -> None:
    wars = [WORLD.item_ids[item] for item in np.flatnonzero(WORLD.catalogue.carriers(FEATURES.index("war")))[:5]]
    one = measured(like=tuple(wars))
    assert move_of(one).latents[0] == FEATURES.index("war")
    assert len(move_of(one).latents) <= 8
    assert value(one, "sae", "feature_share_change") > 0


def test_debiasing_makes_lists_less_popular() -> None:
    one = measured(debias="popularity", overlap=0.8)
    assert value(one, "re_ranking", "average_popularity") < value(one, "untuned", "average_popularity")
    assert {e.metric for e in one.effects} >= {"mainstream_effect_size", "gini", "long_tail_coverage"}


def test_multiplying_measures_users_for_whom_it_fires() -> None:
    one = measured(latents=(2,), mode="multiply", strength=0.0)
    activations, ids = WORLD.codes(WORLD.test)
    assert one.users == ((ids == 2) & (activations > 0)).any(1).sum()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature": "horor"}, "Name one of these.*horror"),
        ({"latents": (99,)}, "latent 99 does not exist.*nearest that fires is 7"),
        ({"like": ("i0001",)}, "knows no item 'i0001'.*i000, i001"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        measured(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"feature": "war", "latents": (1,)},
        {"feature": "war", "strength": 1.0, "overlap": 0.5},
        {"feature": "war", "strength": 1.0, "direction": "less"},
        {"feature": "war", "mode": "multiply", "strength": -1.0},
        {"feature": "war", "overlap": 1.0},
        {"mix": {"war": 0.7, "crime": 0.5}},
        {"mix": {"war": 0.7}, "mode": "multiply"},
        {"mix": "all"},
    ],
)
def test_a_tuning_asks_for_one_thing_in_one_way(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        TuningSettings.model_validate({"name": "t", **settings})


def test_a_mix_comes_near_to_what_is_wanted() -> None:
    one = measure_tuning(TuningSettings(name="t", mix={"horror": 0.6, "war": 0.3}, overlap=0.3), WORLD)
    assert isinstance(one.resolved, ResolvedMix)
    assert one.resolved.latents.tolist() == [FEATURES.index("horror"), FEATURES.index("war")]
    before, after = value(one, "untuned", "exposure_error"), value(one, "sae", "exposure_error")
    assert after < before / 2
    assert value(one, "re_ranking", "exposure_error") < before
    lists = tuned_lists(one.resolved, WORLD.test, WORLD)
    share = WORLD.catalogue.carriers(FEATURES.index("horror"))[lists].mean()
    assert share > WORLD.catalogue.carriers(FEATURES.index("horror"))[best_lists_before()].mean() + 0.2


def best_lists_before() -> np.ndarray:
    return best_lists(WORLD.recommender, WORLD.test, WORLD.test.x)


def test_a_mix_of_histories_takes_all_features() -> None:
    one = measure_tuning(TuningSettings(name="t", mix="history"), WORLD)
    assert isinstance(one.resolved, ResolvedMix)
    assert one.resolved.mix.shares is None
    assert len(one.resolved.latents) == len(FEATURES)
    assert value(one, "sae", "exposure_error") < value(one, "untuned", "exposure_error")


def test_latents_that_fire_for_nobody_need_a_strength() -> None:
    nobody = replace(WORLD, sae=SparseAutoencoder(*_silent(WORLD.sae), k=3), _codes={})
    done = measure_tuning(TuningSettings(name="t", latents=(2,), mode="multiply", strength=0.0), nobody)
    assert (done.resolved.strength, done.users, done.effects) == (0.0, 0, [])
    with pytest.raises(InputError, match="fire for none of the dev users"):
        measure_tuning(TuningSettings(name="t", latents=(2,), mode="multiply"), nobody)


def _silent(sae: SparseAutoencoder) -> tuple[torch.Tensor, ...]:
    """Weights of an SAE that never fires."""
    bias = torch.full_like(sae.b_enc, -1e6)
    return sae.W_enc.detach(), bias, sae.W_dec.detach(), sae.b_dec.detach()
