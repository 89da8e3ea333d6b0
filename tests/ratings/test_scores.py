from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsae_lib.ratings.scores import (
    RatingMetric,
    agreement_with_judge,
    concept_means,
    figures_of,
    ordinal_alpha,
    rater_metrics,
    rating_metrics,
    relevance,
)

KEY_COLUMNS = ["case_id", "kind", "latent_id", "stratum", "stratum_concepts", "confidence", "interpretable"]


def key_of(concepts: int = 10, repeats: int = 5, wrong: int = 5) -> pd.DataFrame:
    """Concepts 0, 1, …: even ones of the large stratum, odd ones of the small; checks on the first and on others."""
    rows = [
        (f"c{latent}", "concept", latent, "small", 10, 0.9, True)
        if latent % 2
        else (f"c{latent}", "concept", latent, "large", 90, 0.5, False)
        for latent in range(concepts)
    ]
    rows += [(f"r{latent}", "repeat", *rows[latent][2:]) for latent in range(repeats)]
    rows += [(f"w{latent}", "wrong_label", 100 + latent, "large", 90, 0.5, False) for latent in range(wrong)]
    return pd.DataFrame(rows, columns=KEY_COLUMNS)


def ratings_of(**raters: dict[str, int]) -> pd.DataFrame:
    rows = [(case, rater, rating) for rater, given in raters.items() for case, rating in given.items()]
    return pd.DataFrame(rows, columns=["case_id", "rater", "rating"])


def joined(ratings: pd.DataFrame, key: pd.DataFrame | None = None) -> pd.DataFrame:
    return ratings.merge(key_of() if key is None else key, on="case_id")


def test_alpha_is_what_it_is_by_hand() -> None:
    # Coincidences: (1,1) 2, (2,2) 2, (3,4) 1, (4,3) 1, (4,4) 2; n = 2, 2, 1, 3 of 8. Squared distances: 12: 4,
    # 13: 12.25, 14: 30.25, 23: 2.25, 24: 12.25, 34: 4. Observed 8;
    # expected 2/7 (16 + 24.5 + 181.5 + 4.5 + 73.5 + 12) = 624/7.
    ratings = ratings_of(
        anna={"c0": 1, "c1": 2, "c2": 3, "c3": 4, "c4": 2},  # nobody else rates c4
        bert={"c0": 1, "c1": 2, "c2": 4, "c3": 4, "r0": 4, "w0": 4},
        carl={"r0": 1, "w0": 1},  # checks do not count
    )
    assert ordinal_alpha(joined(ratings)) == pytest.approx(1 - 56 / 624, abs=1e-12)


def test_alpha_is_undefined_if_nothing_is_shared_or_varies() -> None:
    assert ordinal_alpha(joined(ratings_of(anna={"c0": 1, "c1": 4}, bert={"c2": 3}))) is None
    assert ordinal_alpha(joined(ratings_of(anna={"c0": 3, "c1": 4}, bert={"c0": 3}))) is None
    assert ordinal_alpha(joined(ratings_of(anna={"c0": 1, "c1": 4}, bert={"c0": 1, "c1": 4}))) == 1.0


def test_relevance_weighs_strata_by_their_published_concepts() -> None:
    ratings = ratings_of(anna={"c0": 1, "c2": 2, "c1": 4, "r0": 4, "w0": 4}, bert={"c0": 2, "c1": 4})
    means = concept_means(joined(ratings))
    assert dict(zip(means["latent_id"], means["mean"], strict=True)) == {0: 1.5, 1: 4.0, 2: 2.0}
    figures = relevance(means, seed=1)
    assert figures["concepts"] == 3
    assert figures["mean_relevance"] == pytest.approx(0.9 * 1.75 + 0.1 * 4.0)
    assert {type(value) for value in figures.values()} == {float}
    # The stratum of one concept does not vary, the other is 1.5, 1.75 or 2 with 1/4, 1/2, 1/4.
    assert figures["mean_relevance_low"] == pytest.approx(0.9 * 1.5 + 0.4)
    assert figures["mean_relevance_high"] == pytest.approx(0.9 * 2.0 + 0.4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    covered = []
    for seed in range(200):
        means = random.choice([1.0, 2.0, 3.0, 4.0], size=40, p=[0.1, 0.2, 0.3, 0.4])  # mean 3
        concepts = pd.DataFrame({"mean": means, "stratum": "one", "stratum_concepts": 40})
        figures = relevance(concepts, seed)
        covered.append(figures["mean_relevance_low"] <= 3 <= figures["mean_relevance_high"])
    assert 0.90 <= np.mean(covered) <= 0.985


def test_relevance_needs_one_concept_and_its_interval_needs_two() -> None:
    means = concept_means(joined(ratings_of(anna={"c0": 3})))
    assert relevance(means, 1) == {
        "concepts": 1.0,
        "mean_relevance": 3.0,
        "mean_relevance_low": None,
        "mean_relevance_high": None,
    }
    assert relevance(means[means["mean"] > 3], 1)["mean_relevance"] is None


def test_bias_is_against_the_others_on_the_same_concepts() -> None:
    ratings = ratings_of(
        strict={"c0": 1, "c1": 2, "c5": 1}, mild={"c0": 3, "c1": 4, "c6": 4}, third={"c0": 3}, alone={"c9": 2}
    )
    figures = rater_metrics(joined(ratings))
    assert figures["strict"]["bias"] == pytest.approx((1 - 3 + 2 - 4) / 2)
    assert figures["mild"]["bias"] == pytest.approx((3 - 2 + 4 - 2) / 2)
    assert figures["alone"]["bias"] is None
    assert figures["strict"]["mean"] == pytest.approx(4 / 3)


GOOD = {f"c{latent}": 3 + latent % 2 for latent in range(10)}
FIRST = {f"r{latent}": 3 + latent % 2 for latent in range(5)}
LOW_WRONG = {f"w{latent}": 1 for latent in range(5)}


@pytest.mark.parametrize(
    ("given", "low", "close", "attentive"),
    [
        (GOOD | FIRST | LOW_WRONG, 1.0, 1.0, 1.0),
        (GOOD | FIRST | LOW_WRONG | {"w0": 3}, 0.8, 1.0, 1.0),
        (GOOD | FIRST | LOW_WRONG | {"w0": 3, "w1": 4}, 0.6, 1.0, 0.0),
        (GOOD | FIRST | LOW_WRONG | {"r0": 1, "r2": 1}, 1.0, 0.6, 0.0),
        (dict.fromkeys(GOOD | FIRST | LOW_WRONG, 1), 1.0, 1.0, 0.0),  # the same for everything
        (dict.fromkeys(GOOD | FIRST | LOW_WRONG, 4), 0.0, 1.0, 0.0),
        (GOOD, None, None, 1.0),
        ({"c0": 4, "c1": 4}, None, None, 1.0),
        ({"c0": 4, "w0": 4, "w1": 4}, 0.0, None, 1.0),  # too few checks to tell
        ({"c0": 4, "w0": 4, "w1": 4, "w2": 4}, 0.0, None, 0.0),
        ({"r0": 4, "w0": 1}, 1.0, None, 1.0),  # repeated, but never rated first
    ],
)
def test_checks_tell_attentive_raters(
    given: dict[str, int], low: float | None, close: float | None, attentive: float
) -> None:
    figures = rater_metrics(joined(ratings_of(anna=given)))["anna"]
    assert (figures["wrong_labels_low"], figures["repeats_close"], figures["attentive"]) == (low, close, attentive)


def test_who_cannot_tell_is_counted_and_changes_no_figure() -> None:
    told = {"anna": GOOD | FIRST | LOW_WRONG, "bert": {"c0": 4, "c1": 2, "c2": 3}}
    unsure = {"anna": told["anna"] | {"c9": 0, "w4": 0, "r4": 0}, "bert": told["bert"] | {"c3": 0}, "carl": {"c5": 0}}
    del told["anna"]["c9"], told["anna"]["w4"], told["anna"]["r4"]
    before, after = (rating_metrics(ratings_of(**given), key_of(), 1) for given in (told, unsure))

    def without(metrics: list[RatingMetric]) -> set[RatingMetric]:
        counted = ("cannot_tell_share", "raters")
        return {one for one in metrics if one.metric not in counted and one.subject != "rater: carl"}

    assert without(before) == without(after)
    shares = {one.subject: one.value for one in after if (one.raters, one.metric) == ("all", "cannot_tell_share")}
    # Of 15 answers about concepts 3 are 0, all of odd ones, which are interpretable: of 8.
    assert shares == {
        **{"concepts": 3 / 15, "interpretable": 3 / 8, "stratum: small": 3 / 8},
        **{"not interpretable": 0.0, "stratum: large": 0.0},
        **{"rater: anna": 1 / 10, "rater: bert": 1 / 4, "rater: carl": 1.0},
    }
    assert figures_of(after, "all", "rater: carl") == {
        **{"ratings": 0.0, "mean": None, "bias": None, "wrong_labels_low": None, "repeats_close": None},
        **{"cannot_tell_share": 1.0, "attentive": 1.0},
    }


def test_a_sample_of_which_nobody_can_tell_has_no_figures() -> None:
    metrics = rating_metrics(ratings_of(anna={"c0": 0, "c1": 0}), key_of(), 1)
    figures = figures_of(metrics, "all", "concepts")
    assert (figures["concepts"], figures["cannot_tell_share"], figures["mean_relevance"]) == (0.0, 1.0, None)
    assert figures_of(metrics, "all", "stratum: large")["concepts"] == 0.0


def test_the_judge_is_held_against_people() -> None:
    ratings = ratings_of(anna={"c0": 1, "c1": 4, "c2": 2, "c3": 2, "c4": 3})
    figures = agreement_with_judge(concept_means(joined(ratings)))
    # Relevant: 1 (confidence .9) and 4 (.5); not: 0 (.5), 2 (.5), 3 (.9): of 6 pairs 2 right, 3 tied, 1 wrong.
    assert figures["auc_confidence"] == pytest.approx((2 + 3 / 2) / 6)
    assert figures["auc_interpretable"] == pytest.approx((2 + 3 / 2) / 6)
    # Ranks of confidence 2 4.5 2 4.5 2, of the mean 1 5 2.5 2.5 4: products sum to 3.75, squares to 7.5 and 9.5.
    assert figures["spearman_confidence"] == pytest.approx(3.75 / np.sqrt(7.5 * 9.5))
    same = agreement_with_judge(concept_means(joined(ratings_of(anna={"c0": 4, "c1": 4}))))
    assert set(same.values()) == {None}


def test_concepts_without_confidence_count_where_none_is_needed() -> None:
    key = key_of()
    key.loc[key["latent_id"].isin([0, 2]), "confidence"] = None
    metrics = rating_metrics(ratings_of(anna={"c0": 1, "c1": 4, "c2": 4, "c3": 2}), key, 1)
    figures = figures_of(metrics, "all", "concepts")
    assert figures["concepts"] == 4
    assert figures["spearman_confidence"] is None  # both judged ones have confidence .9
    assert figures["auc_interpretable"] == pytest.approx(0.5)


def test_figures_come_with_and_without_inattentive_raters() -> None:
    asleep = dict.fromkeys(GOOD | FIRST | LOW_WRONG, 1)
    metrics = rating_metrics(ratings_of(anna=GOOD | FIRST | LOW_WRONG, asleep=asleep), key_of(), 1)
    both, attentive = (figures_of(metrics, raters, "concepts") for raters in ("all", "attentive"))
    assert (both["raters"], attentive["raters"]) == (2, 1)
    assert both["mean_relevance"] == pytest.approx(0.9 * 2 + 0.1 * 2.5)
    assert attentive["mean_relevance"] == pytest.approx(0.9 * 3 + 0.1 * 4)
    assert both["krippendorff_alpha"] is not None
    assert attentive["krippendorff_alpha"] is None
    assert figures_of(metrics, "attentive", "interpretable")["mean_relevance"] == 4
    assert figures_of(metrics, "attentive", "stratum: large")["mean_relevance"] == 3
    assert figures_of(metrics, "all", "rater: asleep")["attentive"] == 0
    keys = [(metric.raters, metric.subject, metric.metric) for metric in metrics]
    assert len(keys) == len(set(keys))


def test_where_no_rater_is_attentive_figures_are_empty_not_wrong() -> None:
    metrics = rating_metrics(ratings_of(asleep=dict.fromkeys(GOOD | LOW_WRONG, 4)), key_of(), 1)
    figures = figures_of(metrics, "attentive", "concepts")
    assert figures["concepts"] == 0
    assert {value for name, value in figures.items() if name not in ("raters", "concepts")} == {None}
