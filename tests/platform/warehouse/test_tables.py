"""The declarations of the tables, looked at as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import AUDIT_TABLES, JUDGED_UNITS, TABLES, Table, UnitKind
from tests.workspace import REPOSITORY

DIRECTLY = {
    *("audits", "audit_attempts", "comparisons"),
    *("rating_samples", "concept_ratings", "rating_rejects", "rating_metrics"),
}


# Tables that are not ours: a site's own data, what its own model recommends, one that is made to load classes.
OTHER_TABLES = {
    "recsae_lib/datasets/formats/own_tables.py",
    "recsae_lib/recommenders/foreign/tables.py",
    "recsae_lib/platform/spark/submission.py",
}
TOUCHES_TABLES = re.compile(r"\.(?:table|sql|writeTo|saveAsTable|insertInto|tableExists)\(")


def declared() -> Iterator[tuple[str, Table]]:
    """Every table that a module of the package has a name for, with that name."""
    for module in iter_modules(tables.__path__, f"{tables.__name__}."):
        yield from ((name, value) for name, value in vars(import_module(module.name)).items() if type(value) is Table)


def test_the_list_of_tables_holds_all_that_are_declared() -> None:
    names = {name.upper(): table for name, table in declared()}
    assert {name.lower(): table for name, table in names.items()} == TABLES
    assert len({id(table) for _, table in declared()}) == len(TABLES) == 30
    assert {name: getattr(tables, name) for name in names} == names  # where others import them from


def test_an_audit_publishes_all_but_what_comes_directly() -> None:
    assert {table.name for table in AUDIT_TABLES} == set(TABLES) - DIRECTLY


def test_only_the_warehouse_touches_tables() -> None:
    modules = [path for folder in ("recsae_lib", "jobs") for path in (REPOSITORY / folder).rglob("*.py")]
    touching = {path.relative_to(REPOSITORY) for path in modules if TOUCHES_TABLES.search(path.read_text("utf-8"))}
    warehouse = Path("recsae_lib/platform/warehouse")
    assert {str(path) for path in touching if warehouse not in path.parents} == OTHER_TABLES


def test_declared_keys_are_columns_without_nulls() -> None:
    for table in TABLES.values():
        for name in table.key:
            assert not table.schema[name].nullable, (table.name, name)


def test_rows_come_without_what_the_warehouse_fills_in() -> None:
    assert tables.AUDIT_METRICS.row_schema.names == ["unit_kind", "metric", "value"]
    assert tables.AUDIT_METRICS.versioned_row_schema.names == ["sae_version", "unit_kind", "metric", "value"]
    assert tables.ITEMS.row_schema == tables.ITEMS.versioned_row_schema == tables.ITEMS.schema


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (tables.CONCEPT_TERMS, "the job compute_concept_terms"),
        (tables.COMPARISONS, "`recsae compare`"),
        (tables.CONCEPT_RATINGS, "`recsae ratings`"),
    ],
)
def test_jobs_and_commands_are_named_as_people_run_them(table: Table, words: str) -> None:
    assert table.writer_in_words == words


def test_a_kind_of_unit_is_its_value_wherever_it_is_written() -> None:
    assert (f"{UnitKind.UNTRAINED}", str(UnitKind.SAE), UnitKind("item_knn")) == ("untrained", "sae", UnitKind.ITEM_KNN)
    assert {("sae", "fvu"): 0.5}[UnitKind.SAE, "fvu"] == 0.5
    comment = tables.CONCEPT_COVERAGE.schema["unit_kind"].metadata["comment"]
    assert [kind for kind in UnitKind if f"{kind} (" in comment] == list(JUDGED_UNITS)
