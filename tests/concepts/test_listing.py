"""Which concepts a text or an item finds, and their evidence in its order; whole runs are in tests/audit."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.concepts.listing import evidence, links_of, named_so, title_of
from recsae_lib.platform.warehouse.spark_rows import SparkRows
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import CONCEPT_TERMS, ITEMS, LATENT_EFFECTS, LATENT_ITEMS, Table
from tests.publishing import publish

TERMS = [  # latent_id, term, significant, rank
    (1, "space", True, 2),
    (1, "alien", True, 1),
    (2, "Alien ship", True, 1),
    (3, "alien", False, 1),
]
LINKS = [(1, "i1", 2), (1, "i2", 1), (2, "i1", 1), (3, "gone", 1)]  # latent_id, item_id, rank
EFFECTS = [(1, "item", "i1", 1), (4, "item", "i1", -2), (4, "feature", None, 1), (2, "item", "i2", 1)]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> SparkRows:
    scopes: Any = dict.fromkeys(("data", "model", "audit"), "listing")
    warehouse = Warehouse(spark, "recsae", scopes, date(2026, 11, 20))

    def write(table: Table, filled: list[dict[str, Any]]) -> None:
        of_type: dict[str, Any] = {"string": "", "int": 1, "bigint": 1, "double": 0.5, "boolean": True}
        schema = table.versioned_row_schema
        values = [
            tuple(row.get(f.name, None if f.nullable else of_type[f.dataType.simpleString()]) for f in schema.fields)
            for row in filled
        ]
        warehouse.replace(table, spark.createDataFrame(values, schema))

    keys = ("latent_id", "term", "significant", "rank")
    write(CONCEPT_TERMS, [dict(zip(keys, row, strict=True)) for row in TERMS])
    write(LATENT_ITEMS, [dict(zip(("latent_id", "item_id", "rank"), row, strict=True)) for row in LINKS])
    write(LATENT_EFFECTS, [dict(zip(("latent_id", "kind", "item_id", "rank"), row, strict=True)) for row in EFFECTS])
    derived = [("i1", "Alien", "", ["Horror"], ["released: 1979"]), ("i2", "", "", ["Drama"], None)]
    warehouse.replace(ITEMS, spark.createDataFrame(derived, ITEMS.schema))
    return SparkRows(warehouse, publish(warehouse))


def test_a_text_is_found_in_label_description_and_terms(rows: SparkRows) -> None:
    concepts = [
        {"latent_id": 1, "label": "Horror", "description": "Users."},  # by a term
        {"latent_id": 2, "label": "Sci-Fi", "description": "Users."},  # by a term in another case
        {"latent_id": 3, "label": "Drama", "description": "Users."},  # its term is not significant
        {"latent_id": 5, "label": "ALIENS", "description": "Users."},
        {"latent_id": 6, "label": "Drama", "description": "Who likes an alien."},
    ]
    assert [concept["latent_id"] for concept in named_so(rows, concepts, "aLiEn")] == [1, 2, 5, 6]
    assert named_so(rows, concepts, "nothing") == []


def test_an_item_finds_who_is_linked_to_it_and_who_pushes_it(rows: SparkRows) -> None:
    links = links_of(rows, "i1")
    found = {
        latent: (link.linked and link.linked["rank"], link.pushed and link.pushed["rank"])
        for latent, link in links.items()
    }
    assert found == {1: (2, 1), 2: (1, None), 4: (None, -2)}
    assert links_of(rows, "i3") == {}
    assert (title_of(rows, "i1"), title_of(rows, "i2"), title_of(rows, "gone")) == ("Alien", "", None)


def test_evidence_is_significant_and_best_first(rows: SparkRows) -> None:
    terms, items = evidence(rows, [1, 3], depth=2)
    assert {latent: [row["term"] for row in found] for latent, found in terms.items()} == {1: ["alien", "space"]}
    shown = {
        latent: [(row["item_id"], row["title"], row["features"]) for row in found] for latent, found in items.items()
    }
    assert shown == {
        1: [("i2", "", ["Drama"]), ("i1", "Alien", ["Horror", "released: 1979"])],
        3: [("gone", None, [])],
    }
    assert [row["item_id"] for row in evidence(rows, [1], depth=1)[1][1]] == ["i2"]
