"""What `recsae concepts` says of one concept; whole runs of it are in tests/audit."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Row

from recsae_lib.cli.concepts import concept_lines

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
    "active_users": 1200,
    "density": 0.25,
    "same_as": None,
    "artefact": None,
    "artefact_p_value": 0.5,
}


def test_a_concept_has_its_label_terms_and_items() -> None:
    terms = [Row(term="alien", kind="word", z_score=4.26)]
    items = [Row(title="Alien", item_id="7"), Row(title=None, item_id="8")]
    assert concept_lines(Row(**CONCEPT), terms, items) == [
        "latent 15: Horror, alien",
        "Users who like aliens.",
        "interpretable, confidence 0.90 (0.70 to 0.97), q 0.01, judge terms; fires for 1,200 users (25.0%)",
        "terms: alien (word, z 4.3)",
        "items: Alien; 8",
    ]


def test_twins_and_artefacts_are_named() -> None:
    marked = {**CONCEPT, "same_as": 3, "artefact": "time", "artefact_p_value": 0.00012}
    assert concept_lines(Row(**marked), [], [])[3:5] == [
        "is about the same thing as latent 3, which has the most users",
        "may be an artefact of a list: the items stand next to each other in the order of first interactions "
        "(p 0.00012)",
    ]


def test_an_unlabelled_latent_is_unnamed_whatever_its_label_was() -> None:
    earlier = {**CONCEPT, "label": "latent 15 (no significant term)", "status": "unlabelled"}
    assert concept_lines(Row(**earlier), [], [])[0] == "latent 15: unnamed"
