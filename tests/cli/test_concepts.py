"""What `recsae concepts` says of one concept; whole runs of it are in tests/audit."""

from __future__ import annotations

from typing import Any

import pytest

from recsae_lib.cli.concept_lines import concept_lines, verdict
from recsae_lib.concepts import listing
from recsae_lib.concepts.listing import ItemLink, best_first
from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.tables import TABLES

CONCEPT: dict[str, Any] = {
    "latent_id": 15,
    "label": "Horror, alien",
    "description": "Users who like aliens.",
    "status": "labelled",
    "judge": "terms",
    "confidence": 0.9,
    "confidence_low": 0.7,
    "confidence_high": 0.97,
    "q_value": 0.01,
    "interpretable": True,
    "best_feature": None,
    "best_feature_auc": None,
    "output_feature": None,
    "output_score": None,
    "active_users": 1200,
    "density": 0.25,
    "same_as": None,
    "artefact": None,
    "artefact_p_value": 0.5,
    "removal_effect": 0.34,
    "removal_low": 0.28,
    "removal_high": 0.4,
    "removal_other": 0.03,
    "removal_p_value": 0.001,
    "found_again": 0.93,
    "found_again_id": 12,
    "confirmed": True,
}
LIMITS = VerificationSettings()


def test_a_concept_has_its_label_terms_and_items() -> None:
    terms = [{"term": "alien", "kind": "word", "z_score": 4.26}]
    items = [{"title": "Alien", "item_id": "7"}, {"title": None, "item_id": "8"}]
    assert concept_lines(CONCEPT, terms, items, LIMITS) == [
        "latent 15: Horror, alien",
        "Users who like aliens.",
        "confirmed",
        "confidence 0.90 (0.70 to 0.97), q 0.01, judge terms; fires for 1,200 users (25.0%)",
        "removal takes 34% (28% to 40%) of its name out of the lists; another direction takes 3% (p 0.001)",
        "in the SAE of another seed: latent 12, r .93",
        "terms: alien (word, z 4.3)",
        "items: Alien; 8",
    ]


def test_twins_and_artefacts_are_named() -> None:
    marked = {**CONCEPT, "same_as": 3, "artefact": "time", "artefact_p_value": 0.00012}
    assert concept_lines(marked, [], [], LIMITS)[6:8] == [
        "is about the same thing as latent 3, which has the most users",
        "may be an artefact of a list: the items stand next to each other in the order of first interactions "
        "(p 0.00012)",
    ]


def test_what_makes_it_fire_and_what_it_pushes_are_told_apart() -> None:
    features = {"best_feature": "War", "best_feature_auc": 0.81}
    features |= {"output_feature": "Drama", "output_score": 1.234}
    assert concept_lines({**CONCEPT, **features}, [], [], LIMITS)[6:8] == [
        "tells apart best: War (ROC-AUC 0.81)",
        "pushes up most: Drama (output score 1.23)",
    ]


def test_an_unlabelled_latent_is_unnamed_whatever_its_label_was() -> None:
    earlier = {**CONCEPT, "label": "latent 15 (no significant term)", "status": "unlabelled"}
    assert concept_lines(earlier, [], [], LIMITS)[0] == "latent 15: unnamed"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"removal_effect": 0.12, "found_again": 0.41},
            "interpretable, not confirmed: removal takes 12% of its name, 20% asked for; not found again: r .41, .70 "
            "asked for",
        ),
        ({"removal_p_value": 0.3}, "interpretable, not confirmed: another direction takes as much (p 0.3)"),
        (
            {"removal_effect": None, "found_again": None},
            "interpretable, not confirmed: removal was not measured; there is no SAE of another seed",
        ),
        (
            {"interpretable": False, "confidence": 0.72, "q_value": 0.2},
            "not interpretable: confidence 0.72, 0.80 asked for; chance does as well (q 0.2)",
        ),
        ({"interpretable": False, "status": "unlabelled"}, "not interpretable: no significant term names it"),
        ({"interpretable": False, "confidence": None}, "not interpretable: it was not judged"),
        ({"interpretable": False}, "not interpretable: another judge does not find it so"),
    ],
    ids=["both", "p-value", "unmeasured", "confidence", "unnamed", "unjudged", "other-judge"],
)
def test_what_is_missing_is_said(changed: dict[str, Any], said: str) -> None:
    assert verdict({**CONCEPT, "confirmed": False, **changed}, LIMITS) == said


def test_rows_of_earlier_versions_say_what_they_know() -> None:
    unknown = dict.fromkeys(name for name in CONCEPT if name.startswith(("removal", "found", "confirmed")))
    lines = concept_lines({**CONCEPT, **unknown}, [], [], LIMITS)
    assert lines[2] == "interpretable"
    assert [line for line in lines if "removal" in line or "another seed" in line] == []


def test_a_latent_without_a_match_is_like_nothing_there() -> None:
    alone = {**CONCEPT, "found_again": 0.0, "found_again_id": None}
    assert concept_lines(alone, [], [], LIMITS)[5] == "in the SAE of another seed: nothing like it"


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (ItemLink({"rank": 2, "users": 1200}, None), "linked to the item (rank 2, 1,200 users)"),
        (ItemLink(None, {"rank": 3, "effect": 0.25}), "pushes the item up (rank 3, effect +0.250)"),
        (
            ItemLink({"rank": 1, "users": 1}, {"rank": -1, "effect": -0.5}),
            "linked to the item (rank 1, 1 user); pushes the item down (rank -1, effect -0.500)",
        ),
    ],
    ids=["linked", "up", "both"],
)
def test_what_ties_a_concept_to_an_item_is_said(link: ItemLink, said: str) -> None:
    assert concept_lines(CONCEPT, [], [], LIMITS, link)[1] == said


def test_confirmed_ones_come_first_and_unnamed_last() -> None:
    rows = [
        (1, "unlabelled", False, False, 0.9, 0.01),
        (2, "labelled", False, False, None, None),
        (3, "labelled", False, True, 0.95, 0.01),
        (4, "labelled", True, True, 0.81, 0.01),
        (5, "labelled", None, True, 0.99, 0.01),
        (6, "labelled", False, False, 0.7, 0.3),
        (7, "labelled", True, True, 0.85, 0.01),
        (8, "labelled", False, False, 0.7, 0.2),
    ]
    columns = ("latent_id", "status", "confirmed", "interpretable", "confidence", "q_value")
    concepts = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [row["latent_id"] for row in best_first(concepts)] == [7, 4, 5, 3, 8, 6, 2, 1]


def test_what_is_listed_is_declared() -> None:
    assert dict(listing.TABLES) == {name: TABLES[name].scope for name in listing.TABLES}
    assert set(listing.CONCEPT) <= set(TABLES["concepts"].schema.names)
