"""What cards and directories say of tables that are small enough to be worked out by hand."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.explorer.cards import Read, cards
from recsae_lib.explorer.directory import item_directory, term_directory
from recsae_lib.explorer.overview import index_columns, nights, overview
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import Table

pytestmark = pytest.mark.integration
DT, LAST = date(2026, 11, 20), date(2026, 11, 19)
VERDICT = {"interpretable": True, "confirmed": True, "confidence": 0.912345}
USERS = {"u1": ([0], [1.0]), "u2": ([0, 1], [3.0, 2.0]), "u3": ([1], [2.0]), "u4": ([], [])}
HISTORIES = {"u1": ["a", "b"], "u2": ["a", "a"], "u3": ["c", "b"], "u4": ["c", "c"]}
ROWS: dict[str, list[dict[str, Any]]] = {
    "items": [
        {"item_id": "a", "title": "Alien", "text": "", "features": ["Horror"], "derived_features": ["released: 1970s"]},
        {"item_id": "b", "title": "T" * 500, "text": "", "features": ["Drama"]},
        {"item_id": "c", "title": "", "text": "", "features": []},
    ],
    "concepts": [
        {
            "latent_id": 0,
            "label": "horror",
            "status": "labelled",
            "interpretable": True,
            "confirmed": True,
            "confidence": 0.912345,
        },
        {"latent_id": 1, "label": "unnamed", "status": "unlabelled", "interpretable": False, "confidence": None},
    ],
    "concept_terms": [
        {"latent_id": 0, "term": "Horror", "kind": "feature", "rank": 2, "significant": True, "z_score": 3.14159},
        {"latent_id": 0, "term": "alien", "kind": "word", "rank": 1, "significant": True, "z_score": 5.0},
        {"latent_id": 1, "term": "Horror", "kind": "feature", "rank": 1, "significant": False, "z_score": 0.1},
        {"latent_id": 9, "term": "Drama", "kind": "feature", "rank": 1, "significant": False},  # is no concept
    ],
    "latent_items": [
        {"latent_id": 0, "item_id": "b", "weight": 1.0, "users": 1, "rank": 2},
        {"latent_id": 0, "item_id": "a", "weight": 4.0, "users": 2, "rank": 1},
        {"latent_id": 1, "item_id": "a", "weight": 4.0, "users": 2, "rank": 1},
    ],
    "latent_effects": [
        {"latent_id": 0, "kind": "item", "item_id": "a", "effect": 1.5, "rank": 1},
        {"latent_id": 0, "kind": "item", "item_id": "c", "effect": -1.5, "rank": -1},
        {
            "latent_id": 0,
            "kind": "feature",
            "feature": "Drama",
            "effect": -1.0,
            "output_score": -0.7,
            "q_value": 0.01,
            "rank": -1,
        },
        {
            "latent_id": 0,
            "kind": "feature",
            "feature": "Horror",
            "effect": 1.0,
            "output_score": 0.9,
            "q_value": 0.01,
            "rank": 1,
        },
    ],
    "concept_scores": [{"latent_id": 0, "judge": "terms", "confidence": 0.912345, "cases": 4, "interpretable": True}],
    "shuffled_scores": [{"latent_id": 0, "judge": "terms", "confidence": 0.51}],
    "concept_drift": [
        {
            "latent_id": 0,
            "previous_latent_id": 5,
            "previous_dt": date(2026, 11, 19),
            "change": "drifted",
            "previous_label": "war",
        },
        {"latent_id": None, "previous_latent_id": 6, "previous_dt": LAST, "change": "gone"},
        {"latent_id": 0, "previous_latent_id": 5, "previous_dt": date(2026, 11, 13), "change": "stable"},
    ],
    "verification_cases": [
        {"latent_id": 0, "judge": "terms", "user_id": "u1", "kind": "positive", "fires": True, "judged": True},
        {"latent_id": 0, "judge": "terms", "user_id": "u3", "kind": "random", "fires": False, "judged": True},
    ],
    "recommendations": [
        {"user_id": user, "item_ids": ["b", "a"], "scores": [2.0, 1.0], "context_ids": history}
        for user, history in HISTORIES.items()
    ],
    "latent_activations": [
        {"user_id": user, "latent_ids": latents, "activations": sizes} for user, (latents, sizes) in USERS.items()
    ],
    "audit_metrics": [
        {"unit_kind": "sae", "metric": "live_units", "value": 2.0},
        {"unit_kind": "sae", "metric": "interpretable_units", "value": 1.0},
    ],
}
SHOWN_TITLE = f"{'T' * 159}…"


@pytest.fixture(scope="module")
def read(spark: SparkSession) -> Read:
    def rows_of(table: Table) -> DataFrame:
        blank = {"string": "", "int": 0, "bigint": 0, "double": 0.0, "boolean": False, "date": DT}
        filled = [
            tuple(
                row[field.name]
                if field.name in row
                else None
                if field.nullable
                else blank.get(field.dataType.simpleString(), [])
                for field in table.schema.fields
            )
            for row in ROWS.get(table.name, [])
        ]
        return spark.createDataFrame(filled, table.schema)

    return rows_of


def said(read: Read, linked: str, show_users: bool) -> dict[int, dict[str, Any]]:
    return {row["latent_id"]: json.loads(row["card"]) for row in cards(read, linked, show_users).collect()}


@pytest.fixture(scope="module")
def found(read: Read) -> dict[int, dict[str, Any]]:
    return said(read, "recommended", show_users=False)


def test_a_card_says_what_the_tables_say(found: dict[int, dict[str, Any]]) -> None:
    assert set(found) == {0, 1}
    card = found[0]
    assert (card["label"], card["confidence"], card["confirmed"]) == ("horror", 0.9123, True)
    assert [(term["term"], term["z_score"]) for term in card["terms"]] == [("alien", 5.0), ("Horror", 3.142)]
    linked = [(item["item_id"], item["title"], item["users"]) for item in card["items_linked"]]
    assert linked == [
        ("a", "Alien", 2),
        ("b", SHOWN_TITLE, 1),
    ]
    assert [item["title"] for item in card["items_up"]] == ["Alien"]
    assert [(item["title"], item["value"]) for item in card["items_down"]] == [("c", -1.5)]
    assert [one["feature"] for one in card["output_features"]] == ["Horror", "Drama"]
    assert [(one["confidence"], one["shuffled_confidence"]) for one in card["scores"]] == [(0.9123, 0.51)]
    changes = [(one["previous_dt"], one["change"]) for one in card["changes"]]
    assert changes == [
        ("2026-11-19", "drifted"),
        ("2026-11-13", "stable"),
    ]
    assert "items_up" not in found[1]
    assert "changes" not in found[1]


def test_users_are_told_by_what_they_take(found: dict[int, dict[str, Any]]) -> None:
    # Horror is 1/2 of what u1 took, all of what u2 took, nothing of the others: 3/8 of all, 3/4 where latent 0 fires.
    shares = {one["feature"]: (one["share"], one["of_all"]) for one in found[0]["audience"]}
    assert shares == {"Horror": (0.75, 0.375), "released: 1970s": (0.75, 0.375), "Drama": (0.25, 0.25)}
    assert {one["users"] for one in found[0]["audience"]} == {2}
    assert found[0]["histogram"] == [0] * 15 + [2]  # far above a mean activation of 0
    assert {one["feature"]: one["share"] for one in found[1]["audience"]} == {
        "Horror": 0.5,
        "released: 1970s": 0.5,
        "Drama": 0.25,
    }


def test_cases_name_nobody_unless_asked(read: Read, found: dict[int, dict[str, Any]]) -> None:
    titles = [SHOWN_TITLE, "Alien"]
    shown = [(one["fires"], one["judged"], one["titles"]) for one in found[0]["cases"]]
    assert shown == [(True, True, titles), (False, True, titles)]
    assert "u1" not in json.dumps(found)
    named = said(read, "context", show_users=True)[0]["cases"]
    shown = [(one["user_id"], one["titles"]) for one in named]
    assert shown == [("u1", ["Alien", SHOWN_TITLE]), ("u3", ["c", SHOWN_TITLE])]


def test_directories_lead_to_concepts(read: Read) -> None:
    terms = term_directory(read(tables.CONCEPT_TERMS)).collect()
    assert [(row["text"], json.loads(row["row"])) for row in terms] == [
        ("Horror", {"kind": "feature", "latents": [0]}),
        ("alien", {"kind": "word", "latents": [0]}),
    ]
    items = item_directory(*map(read, (tables.LATENT_ITEMS, tables.LATENT_EFFECTS, tables.ITEMS))).collect()
    assert [(row["text"], json.loads(row["row"])) for row in items] == [
        ("Alien", {"item_id": "a", "linked": [0, 1], "up": [0], "down": []}),
        (SHOWN_TITLE, {"item_id": "b", "linked": [0], "up": [], "down": []}),
        ("c", {"item_id": "c", "linked": [], "up": [], "down": [0]}),
    ]


def test_the_overview_of_an_audit_that_lacks_tables(read: Read) -> None:
    found = overview(read)
    assert found["headline"].startswith("1 of 2 live latents are interpretable; none can be confirmed")
    assert [(one["feature"], one["items"], one["latents"]) for one in found["features"]] == [
        ("Drama", 1, None),
        ("Horror", 1, [0]),
        ("released: 1970s", 1, None),
    ]
    assert (found["tunings"], found["coverage"]) == ([], [])
    assert found["changes"] == [
        {"previous_dt": "2026-11-19", "change": "drifted", "latents": 1},
        {"previous_dt": "2026-11-19", "change": "gone", "latents": 1},
        {"previous_dt": "2026-11-13", "change": "stable", "latents": 1},
    ]
    columns = index_columns(read(tables.CONCEPTS), read(tables.CONCEPT_DRIFT))
    assert (columns["state"], columns["change"], columns["confidence"]) == ([3, 0], ["drifted", ""], [91, None])
    night = {"dt": "2026-11-20", "interpretable_units": 1.0, "stable_share": 0.0}  # against the newest one
    assert nights(read(tables.AUDIT_METRICS), read(tables.CONCEPT_DRIFT), [DT]) == [night]
