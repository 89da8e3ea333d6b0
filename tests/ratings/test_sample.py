from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.ratings.sample import (
    Concept,
    Evidence,
    build_sample,
    draw_concepts,
    equal_shares,
    number_of_checks,
)
from tests.ratings.rating_cases import concept, evidence, sample


@pytest.mark.parametrize(
    ("sizes", "number", "shares"),
    [
        ({"a": 100, "b": 100}, 10, {"a": 5, "b": 5}),
        ({"a": 2, "b": 100, "c": 100}, 12, {"a": 2, "b": 5, "c": 5}),
        ({"a": 1, "b": 3, "c": 100}, 20, {"a": 1, "b": 3, "c": 16}),
        ({"a": 1, "b": 2}, 20, {"a": 1, "b": 2}),
        ({"a": 9, "b": 9, "c": 9}, 2, {"a": 0, "b": 1, "c": 1}),
    ],
)
def test_strata_share_the_sample_as_equally_as_they_can(
    sizes: dict[str, int], number: int, shares: dict[str, int]
) -> None:
    assert equal_shares(sizes, number) == shares


@pytest.mark.parametrize(
    ("confidence", "interpretable", "stratum"),
    [
        (1.0, True, "confidence 0.8 and above, interpretable"),
        (0.8, False, "confidence 0.8 and above, not interpretable"),
        (0.79, False, "confidence 0.6 to 0.8, not interpretable"),
        (0.0, False, "confidence below 0.6, not interpretable"),
        (None, False, "not judged, not interpretable"),
    ],
)
def test_a_stratum_is_a_band_of_confidence_and_the_verdict(
    confidence: float | None, interpretable: bool, stratum: str
) -> None:
    assert concept(1, confidence, interpretable).stratum == stratum


def test_rare_strata_are_drawn_whole_in_any_row_order() -> None:
    concepts = [concept(latent, 0.5, False) for latent in range(90)] + [concept(latent) for latent in range(90, 94)]
    draw = draw_concepts(concepts, 20, 7)
    assert Counter(drawn.interpretable for drawn in draw.rated) == {True: 4, False: 16}
    assert draw.sizes == {
        "confidence below 0.6, not interpretable": 90,
        "confidence 0.8 and above, interpretable": 4,
    }
    assert len(draw.mislabelled) == 3
    assert not {drawn.latent_id for drawn in draw.mislabelled} & {drawn.latent_id for drawn in draw.rated}
    assert draw_concepts(reversed(concepts), 20, 7) == draw
    assert draw_concepts(concepts, 20, 8) != draw


def test_repeats_come_late_and_wrong_labels_do_not_fit() -> None:
    cases = sample(200, 60).cases
    assert Counter(case.kind for case in cases) == {"concept": 60, "repeat": 6, "wrong_label": 6}
    place = {case.concept.latent_id: place for place, case in enumerate(cases) if case.kind == "concept"}
    for late, case in enumerate(cases):
        if case.kind == "repeat":
            assert late - place[case.concept.latent_id] >= len(cases) / 4
        assert (case.labelled_by != case.concept) == (case.kind == "wrong_label")
        assert case.evidence.terms[0] == f"feature-{case.concept.latent_id}"


def test_a_label_that_may_be_right_is_never_used_as_wrong() -> None:
    shown = {
        1: Evidence(("war", "Submarine"), (("Das Boot", ("War", "Drama")), ("Platoon", ("War",)))),
        2: Evidence(("drama",), (("Marty", ("Drama",)),)),  # fits one of the two items of 1
        3: Evidence(("SUBMARINE",), (("Glory", ()),)),  # is a term of 1
        4: Evidence(("boot",), (("Boots", ()),)),  # stands in a title of 1
        5: Evidence(("ballet",), (("Giselle", ()),)),  # has the label of 1
    }
    draw = draw_concepts([concept(latent, label="Label 1" if latent == 5 else "") for latent in shown], 5, 1)
    draw = replace(draw, mislabelled=(draw.rated[[c.latent_id for c in draw.rated].index(1)],))
    kinds = [case.kind for case in build_sample("t", draw, shown, 1).cases]
    assert "wrong_label" not in kinds
    shown[4] = Evidence(("musical",), (("Cabaret", ()),))
    wrong = [case for case in build_sample("t", draw, shown, 1).cases if case.kind == "wrong_label"]
    assert [case.labelled_by.latent_id for case in wrong] == [4]


concepts_of_all_strata = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(0, 1)), st.booleans()), min_size=1, max_size=40
).map(lambda rows: [concept(latent, *row) for latent, row in enumerate(rows)])


@settings(max_examples=60, deadline=None)
@given(concepts_of_all_strata, st.integers(1, 50), st.integers(0, 2**31))
def test_every_concept_is_rated_once_under_a_name_of_its_own(concepts: list[Concept], number: int, seed: int) -> None:
    shown = {drawn.latent_id: evidence(drawn.latent_id) for drawn in concepts}
    drawn = build_sample("t", draw_concepts(concepts, number, seed), shown, seed)
    rated = [case.concept.latent_id for case in drawn.cases if case.kind == "concept"]
    assert len(rated) == len(set(rated)) == min(number, len(concepts))
    assert len({case.case_id for case in drawn.cases}) == len(drawn.cases)
    repeats = [case for case in drawn.cases if case.kind == "repeat"]
    assert len(repeats) <= number_of_checks(len(rated))
    again = build_sample("t", draw_concepts(concepts, number, seed), shown, seed)
    assert again == drawn
    assert again.digest == drawn.digest
    assert not drawn.digest[0].isdigit()


def test_the_digest_is_of_all_that_is_shown_and_of_the_key() -> None:
    drawn = sample(8, 4)
    first, *rest = drawn.cases
    changed = [
        replace(drawn, title="other"),
        replace(drawn, cases=(replace(first, kind="repeat"), *rest)),
        replace(drawn, cases=(replace(first, evidence=evidence(99)), *rest)),
        replace(drawn, cases=(replace(first, concept=replace(first.concept, latent_id=99)), *rest)),
    ]
    assert len({drawn.digest, *(other.digest for other in changed)}) == 5
