"""From representations to confirmed concepts: planted ones pass, and what lacks one thing does not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.interpretation.terms_interpreter import named_terms
from recsae_lib.platform.warehouse.tables import CONCEPT_SCORES, SHUFFLED_SCORES, VERIFICATION_CASES
from recsae_lib.verification.scores import is_confirmed
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.verdicts import Verdicts, own_scores, scores_by_shuffled
from tests.toy_world import BLANK, FEATURES, IDLE, REPLICA_ORDER, UNITS, ToyWorld

pytestmark = pytest.mark.integration

NAMELESS = len(FEATURES) - 1  # its terms are taken away: all that it lacks is a name


class Judged(NamedTuple):
    """Verdicts, the scores by unit with `confirmed`, and the units that a significant term names."""

    verdicts: Verdicts
    scores: pd.DataFrame
    named: set[int]


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    return ToyWorld(spark, tmp_path_factory.mktemp("toy"))


def judged(world: ToyWorld, around: Surroundings) -> Judged:
    named = world.named(around)
    named = named._replace(terms=named.terms.where(F.col("latent_id") != NAMELESS))
    verdicts = world.judge(around, named, shuffle=True)
    scores = verdicts.scores(world.settings).set_index("latent_id", drop=False)
    units = {row["latent_id"] for row in named_terms(named.terms).select("latent_id").distinct().collect()}
    return Judged(verdicts, scores.assign(confirmed=is_confirmed(scores, world.settings.verification)), units)


@pytest.fixture(scope="module")
def planted(world: ToyWorld) -> Judged:
    return judged(world, world.around)


@pytest.fixture(scope="module")
def permuted(world: ToyWorld) -> Judged:
    return judged(world, world.permuted())


def test_planted_concepts_are_confirmed(planted: Judged) -> None:
    assert planted.scores["latent_id"].tolist() == list(range(UNITS))
    features = planted.scores[:NAMELESS]
    assert features["confirmed"].mean() >= 0.95
    assert features["interpretable"].mean() >= 0.95
    assert (features["auc"] > 0.95).mean() >= 0.95
    assert (features["removal_effect"] > 0.9).mean() >= 0.95  # without the feature the other one fills the list
    assert features["removal_other"].mean() < 0.2
    assert (features["removal_users"] > 30).all()
    assert (features["best_feature"] == FEATURES[:NAMELESS]).mean() >= 0.95
    twins = np.argsort(REPLICA_ORDER)
    assert planted.scores["found_again_id"].tolist() == twins.tolist()
    assert planted.scores["found_again"].min() > 0.9


def test_what_changes_no_list_is_interpretable_not_confirmed(planted: Judged) -> None:
    idle = planted.scores.loc[IDLE]
    assert (idle["interpretable"], idle["best_feature"]) == (True, FEATURES[0])
    assert idle["found_again"] > 0.9
    assert idle["removal_effect"] == 0.0
    assert not idle["confirmed"]


def test_without_a_significant_term_nothing_is_interpretable(planted: Judged, permuted: Judged) -> None:
    assert set(range(UNITS)) - planted.named == {NAMELESS}
    assert planted.scores.loc[NAMELESS, "best_feature"] == FEATURES[NAMELESS]
    for of in (planted, permuted):
        unnamed = of.scores[~of.scores["latent_id"].isin(of.named)]
        assert not unnamed["interpretable"].any()
        assert unnamed["confidence"].tolist() == [0.5] * len(unnamed)  # it says "fires" of nobody
        assert unnamed["removal_effect"].isna().all()


def test_a_name_that_says_nothing_is_not_interpretable(planted: Judged) -> None:
    # Its users like a few features more often than others do by chance; so do not those of the verify half.
    blank = planted.scores.loc[BLANK]
    assert (blank["interpretable"], blank["best_feature"]) == (False, None)
    assert blank["confidence"] == pytest.approx(0.5, abs=0.15)


def test_permuted_activations_are_not_confirmed(permuted: Judged) -> None:
    assert len(permuted.scores) == UNITS
    assert permuted.scores["confirmed"].mean() <= 0.01
    assert permuted.scores["interpretable"].mean() <= 0.05
    assert permuted.scores["confidence"].mean() == pytest.approx(0.5, abs=0.03)
    assert permuted.scores["auc"].mean() == pytest.approx(0.5, abs=0.03)
    assert permuted.scores["best_feature"].notna().mean() <= 0.1
    assert permuted.scores["found_again"].min() > 0.9  # that alone proves nothing


def test_only_the_verify_half_has_cases(world: ToyWorld, planted: Judged) -> None:
    construct = in_construct_half(F.col("user_id"), world.settings.evidence.salt).alias("construct")
    cases = planted.verdicts.cases().select("*", construct).toPandas()
    assert set(cases["construct"]) == {False}
    assert cases.groupby(["latent_id", "kind"]).size().unstack().value_counts().to_dict() == {(5, 10, 5): UNITS}
    assert (cases["fires"] == (cases["kind"] == "positive")).all()
    # The drawn cases estimate the confidence of all users.
    right = (cases["fires"] == cases["judged"]).groupby(cases["latent_id"]).mean()
    assert right.mean() == pytest.approx(planted.scores["confidence"].mean(), abs=0.03)


def test_labels_of_other_units_are_not_interpretable(world: ToyWorld, planted: Judged) -> None:
    shuffled = scores_by_shuffled(planted.verdicts, world.settings).toPandas()
    assert len(shuffled) == UNITS
    assert set(shuffled["label_of"].dropna()) == planted.named
    assert shuffled["interpretable"].mean() <= 0.05
    assert shuffled["confidence"].mean() == pytest.approx(0.5, abs=0.05)


def test_rows_have_the_columns_of_the_tables(world: ToyWorld, planted: Judged) -> None:
    verdicts, settings = planted.verdicts, world.settings
    from_the_job = {"dt", "sae_version"}
    for frame, table in (
        (own_scores(verdicts, settings), CONCEPT_SCORES),
        (scores_by_shuffled(verdicts, settings), SHUFFLED_SCORES),
        (verdicts.cases(), VERIFICATION_CASES),
    ):
        declared = {field.name: field.dataType for field in table.schema if field.name not in from_the_job}
        assert {field.name: field.dataType for field in frame.schema} == declared
