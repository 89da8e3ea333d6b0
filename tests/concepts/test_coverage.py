"""Coverage against sets counted one by one; shuffled labels against every way to shuffle them."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from scipy.stats import binomtest

from recsae_lib.concepts.coverage import concept_coverage
from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.config import CoverageSettings, VerificationSettings
from recsae_lib.platform.warehouse.tables import CONCEPT_COVERAGE

SCORES = "latent_id int, confidence double, q_value double, effective_cases double"
TERMS = "latent_id int, term string, kind string, significant boolean"
LIMITS = VerificationSettings(significance=0.05)
# confidence, q-value, effective cases, item features among the significant terms, linked items, users
Unit = tuple[float | None, float, float, list[str], list[str], list[str]]


def measure(
    spark: SparkSession,
    units: dict[int, Unit],
    items: dict[str, list[str]],
    users: list[str],
    confidences: tuple[float, ...] = (0.6, 0.8, 1.0),
    other_terms: list[tuple] | None = None,
    other_latents: dict[str, list[int]] | None = None,
) -> DataFrame:
    scores = [(latent, *unit[:3]) for latent, unit in units.items()]
    terms = [(latent, term, "feature", True) for latent, unit in units.items() for term in unit[3]]
    linked = [(latent, item) for latent, unit in units.items() for item in unit[4]]
    fired = [
        (user, [latent for latent, unit in units.items() if user in unit[5]] + (other_latents or {}).get(user, []))
        for user in users
    ]
    return concept_coverage(
        spark.createDataFrame(scores, SCORES),
        spark.createDataFrame(terms + (other_terms or []), TERMS),
        spark.createDataFrame(linked, "latent_id int, item_id string"),
        spark.createDataFrame(fired, "user_id string, latent_ids array<int>"),
        spark.createDataFrame(list(items.items()), "item_id string, features array<string>"),
        CoverageSettings(minimum_document_frequency=2, confidences=confidences),
        LIMITS,
    )


def rows_of(coverage: DataFrame, dictionary: int = 0) -> list[Row]:
    """Rows of one dictionary, by confidence, without its number."""
    return sorted(coverage.where(F.col("dictionary") == dictionary).drop("dictionary").collect())


ITEMS = {
    "i1": ["space", "war", "war"],
    "i2": ["space", "war"],
    "i3": ["horror"],
    "i4": ["horror", "rare"],
    "i5": [],
}
USERS = ["u1", "u2", "u3", "u4", "u5"]
UNITS: dict[int, Unit] = {
    3: (1.0, 0.001, 20.9, ["space"], ["i1", "i2"], ["u1"]),
    4: (0.7, 0.01, 20.0, ["war", "rare"], ["i2", "i3"], ["u1", "u2"]),
    5: (0.9, 0.06, 20.0, ["horror"], ["i4"], ["u3"]),  # its q-value does not pass
    9: (None, 0.0, 0.0, ["horror"], ["i5"], ["u4"]),
}


def test_what_units_reach_at_each_confidence(spark: SparkSession) -> None:
    coverage = measure(
        spark,
        UNITS,
        {**ITEMS},
        USERS,
        other_terms=[(3, "horror", "feature", False), (3, "horror", "word", True), (77, "horror", "feature", True)],
        other_latents={"u5": [2, 6, 1004]},  # latents without a score
    )
    declared = [
        (field.name, field.dataType)
        for field in CONCEPT_COVERAGE.schema
        if field.name not in ("dt", "sae_version", "unit_kind")
    ]
    found = [(field.name, field.dataType) for field in coverage.schema if field.name != "dictionary"]
    assert found == declared
    rows = rows_of(coverage)
    # Features in two items or more: space, war, horror ("rare" is in one).
    assert [tuple(row)[:4] for row in rows] == [
        (0.6, pytest.approx(2 / 3), pytest.approx(3 / 5), pytest.approx(2 / 5)),
        (0.8, pytest.approx(1 / 3), pytest.approx(2 / 5), pytest.approx(1 / 5)),
        (1.0, pytest.approx(1 / 3), pytest.approx(2 / 5), pytest.approx(1 / 5)),
    ]
    assert [row["units"] for row in rows] == [2, 1, 1]
    assert [row["derived_feature_coverage"] for row in rows] == [0.0, 0.0, 0.0]  # there are none
    # Two of four shuffled sets: space and war in one set each, horror in two; one of four.
    assert [row["shuffled_feature_coverage"] for row in rows] == [
        pytest.approx((1 / 2 + 1 / 2 + 5 / 6) / 3),
        pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3),
        pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3),
    ]
    # Two of four units pass, so p had to be below .05 · 2/4: 15 of 20 has .0207, 14 of 20 .058.
    tails = [binomtest(correct, 20, 0.5, "greater").pvalue for correct in (15, 16, 20)]
    assert [row["units_expected_by_chance"] for row in rows] == [pytest.approx(3 * tail) for tail in tails]


def test_no_counted_unit_still_gives_a_row_a_confidence(spark: SparkSession) -> None:
    units = {1: (0.5, 0.001, 20.0, ["space"], ["i1"], ["u1"]), 2: (None, 1.0, 0.0, ["war"], ["i1"], ["u1"])}
    rows = rows_of(measure(spark, units, ITEMS, USERS))
    assert [row["min_confidence"] for row in rows] == [0.6, 0.8, 1.0]
    assert {tuple(row)[1:6] for row in rows} == {(0.0, 0.0, 0.0, 0.0, 0)}
    assert {tuple(row)[1:6] for row in rows_of(measure(spark, units, {}, []))} == {(0.0, 0.0, 0.0, 0.0, 0)}


def test_without_a_live_unit_there_is_no_row(spark: SparkSession) -> None:
    assert measure(spark, {}, ITEMS, USERS, other_latents={"u1": [3]}).collect() == []


def test_derived_features_are_covered_apart(spark: SparkSession) -> None:
    derived = {"i1": ["old", "war"], "i2": ["old"], "i3": ["new"], "i4": ["new", "once"], "i5": None}
    items = [(item, features, derived[item]) for item, features in ITEMS.items()]
    terms = [(3, "old", "derived", True), (4, "war", "feature", True), (4, "new", "derived", False)]
    coverage = concept_coverage(
        spark.createDataFrame([(latent, *unit[:3]) for latent, unit in UNITS.items()], SCORES),
        spark.createDataFrame([*terms, (3, "war", "derived", True)], TERMS),
        spark.createDataFrame([(3, "i1")], "latent_id int, item_id string"),
        spark.createDataFrame([("u1", [3])], "user_id string, latent_ids array<int>"),
        spark.createDataFrame(items, "item_id string, features array<string>, derived_features array<string>"),
        CoverageSettings(minimum_document_frequency=2, confidences=(0.6, 0.8)),
        LIMITS,
    )
    # Derived in two items: old, new. Of the catalogue's space, war and horror unit 4 has war, as a feature.
    found = [(row["feature_coverage"], row["derived_feature_coverage"]) for row in rows_of(coverage)]
    assert found == [(pytest.approx(1 / 3), 0.5), (0.0, 0.5)]


@st.composite
def worlds(draw: Any) -> tuple[dict[int, Unit], dict[str, list[str]], list[str]]:
    features, items, users = ["a", "b", "c", "d"], [f"i{n}" for n in range(6)], [f"u{n}" for n in range(5)]

    def some(of: list[str]) -> list[str]:
        return draw(st.lists(st.sampled_from(of), unique=True, max_size=3))

    confidence = st.none() | st.integers(8, 20).map(lambda correct: correct / 20)
    units = {
        latent: (draw(confidence), draw(st.sampled_from([0.01, 0.5])), 20.0, some(features), some(items), some(users))
        for latent in draw(st.lists(st.integers(0, 30), unique=True, max_size=5))
    }
    return units, {item: some(features) for item in items}, users


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds())
def test_any_world_agrees_with_sets(spark: SparkSession, world: tuple) -> None:
    units, items, users = world
    carried = [feature for of_item in items.values() for feature in of_item]
    features = {feature for feature in carried if carried.count(feature) >= 2}
    for row in rows_of(measure(spark, units, items, users, confidences=(0.9, 0.5, 0.75))):
        counted = [u for u in units.values() if u[0] is not None and u[0] >= row["min_confidence"] and u[1] < 0.05]

        def share(of: set[str], sets: list[list[str]]) -> float:
            return len(of & {name for names in sets for name in names}) / max(len(of), 1)

        shuffled = [share(features, list(sets)[: len(counted)]) for sets in permutations(u[3] for u in units.values())]
        assert row.asDict() == {
            "min_confidence": row["min_confidence"],
            "feature_coverage": pytest.approx(share(features, [u[3] for u in counted])),
            "item_coverage": pytest.approx(share(set(items), [u[4] for u in counted])),
            "user_coverage": pytest.approx(share(set(users), [u[5] for u in counted])),
            "shuffled_feature_coverage": pytest.approx(np.mean(shuffled)),
            "units": len(counted),
            "units_expected_by_chance": row["units_expected_by_chance"],
            "derived_feature_coverage": 0.0,
        }
        passed = sum(u[1] < 0.05 for u in units.values())
        assert row["units_expected_by_chance"] <= 0.05 * max(passed, 1)


def test_dictionaries_side_by_side_are_those_of_each_alone(spark: SparkSession) -> None:
    # Unit 4 of the second one is named after nothing that the first one has; the third has no unit that counts.
    second: dict[int, Unit] = {
        0: (0.85, 0.02, 40.0, ["horror", "war"], ["i4", "i5", "i1"], ["u2", "u5"]),
        4: (0.65, 0.01, 9.5, ["war"], ["i3"], ["u5"]),
        6: (0.95, 0.9, 20.0, ["space"], ["i2"], ["u3"]),
    }
    third: dict[int, Unit] = {2: (0.5, 0.9, 20.0, ["space"], ["i2"], ["u3"])}
    numbered = {0: UNITS, 1: second, 5: third}
    together = {first_id(n) + unit: of for n, units in numbered.items() for unit, of in units.items()}
    strangers = {"u1": [first_id(2) + 3, first_id(9) + 4], "u5": [first_id(5) + 77]}
    coverage = measure(spark, together, ITEMS, USERS, other_latents=strangers).cache()
    assert {row["dictionary"] for row in coverage.collect()} == {0, 1, 5}
    for number, units in numbered.items():
        assert rows_of(coverage, number) == rows_of(measure(spark, units, ITEMS, USERS))
