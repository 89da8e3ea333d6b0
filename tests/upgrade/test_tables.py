"""Tables of the release before: migrated, killed between two commits, read as they were read then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.commits import change
from recsae_lib.platform.warehouse.migration import migrate_tables, require_migrated
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables.declaration import default_of
from tests.upgrade.earlier_release import EarlierRelease

FIRST, SECOND, THIRD, FOURTH = (date(2026, 11, day) for day in (1, 2, 3, 4))
# Dates by number: the first, which the fourth one ran again, the third, the second.
PUBLISHED = [FIRST, THIRD, SECOND, FIRST]
UNDATED = ("interactions", "items")


class KilledError(Exception):
    """In place of a kill."""


@pytest.fixture
def release(tmp_path: Path) -> EarlierRelease:
    return EarlierRelease.unpack(tmp_path / "release")


def listed(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    rows = run_query(warehouse, f"SELECT * FROM {name} ORDER BY finished_at, dt").collect()
    return [row.asDict() for row in rows]


def as_of(warehouse: Warehouse, name: str, dt: date) -> list[str]:
    return sorted(run_query(warehouse, f"SELECT * FROM {name}", as_of=dt).toJSON().collect())


def assert_reads_as_before(warehouse: Warehouse, expected: Any) -> None:
    for dt in (FIRST, SECOND, THIRD):
        for name, rows in expected["as_of"][dt.isoformat()].items():
            assert as_of(warehouse, name, dt) == rows, (name, dt)
        for name, rows in expected["published"][dt.isoformat()].items():
            if name not in UNDATED:  # of these, main held what came last
                found = warehouse.at(dt).read_published(tables.TABLES[name]).toJSON().collect()
                assert sorted(found) == rows, (name, dt)


def test_published_nights_read_as_they_did(spark: SparkSession, release: EarlierRelease) -> None:
    warehouse = release.warehouse(spark, "upgraded", FIRST)
    with pytest.raises(InputError, match=r"earlier version of recsae: upgraded\.shop\.audits\. Run `recsae migrate`"):
        publications(warehouse)
    with pytest.raises(InputError, match="Run `recsae migrate`"):
        require_migrated([warehouse])
    list(migrate_tables([warehouse]))
    assert list(migrate_tables([warehouse])) == []
    require_migrated([warehouse])

    found = publications(warehouse)
    assert [publication.dt for publication in found] == PUBLISHED
    assert [publication.number for publication in found] == [1, 2, 3, 4]
    assert [publication.sae_version for publication in found] == [1, 1, 1, 2]
    assert all(publication.kept for publication in found)
    attempts = [(row["dt"].day, row["status"], row["publication"]) for row in listed(warehouse, "audit_attempts")]
    # Of the first of the third night, and of the first night, the rows were replaced by later ones.
    assert attempts == [(2, "published", 3), (1, "published", 4), (3, "failed", None), (4, "failed", None)]
    assert "status" not in warehouse.columns(tables.AUDITS).names
    assert_reads_as_before(warehouse, release.read("expected.json"))
    for publication in found:
        for name, snapshot in publication.snapshots.items():
            references = warehouse.references(tables.TABLES[name])
            assert references[publication.tag("shop")] == snapshot


def test_a_killed_migration_ends_as_one_that_was_not(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0

    def counted(*arguments: Any) -> Any:
        nonlocal commits
        if commits == 0:
            raise KilledError
        commits -= 1
        return change(*arguments)

    def migrated(catalog: str, kill_after: int) -> tuple[int, Any]:
        nonlocal commits
        release = EarlierRelease.unpack(tmp_path / catalog)
        warehouse = release.warehouse(spark, catalog, FIRST)
        commits = kill_after
        with monkeypatch.context() as patched:
            patched.setattr("recsae_lib.platform.warehouse.store.change", counted)
            with suppress(KilledError):
                list(migrate_tables([warehouse]))
        done = kill_after - commits
        list(migrate_tables([warehouse]))
        tags = {name: sorted(warehouse.references(table)) for name, table in tables.TABLES.items()}
        audits = [{**row, "snapshots": sorted(row["snapshots"])} for row in listed(warehouse, "audits")]
        return done, (audits, listed(warehouse, "audit_attempts"), tags, as_of(warehouse, "concepts", SECOND))

    total, expected = migrated("not_killed", 10_000)
    assert total > 20
    steps = [*range(4, total, 5), total - 2, total - 1]
    for kill_after in steps:
        assert migrated(f"killed_{kill_after}", kill_after)[1] == expected, kill_after


def test_columns_since_then_are_additive(release: EarlierRelease) -> None:
    reshaped = {"audits"}  # has a migration
    earlier = {name: T.StructType.fromJson(columns) for name, columns in release.read("columns.json").items()}
    for name, columns in earlier.items():
        declared = tables.TABLES[name].schema
        if name not in reshaped:
            assert set(columns.names) <= set(declared.names), name
        for field in declared.fields:
            if field.name not in columns.names and name not in reshaped:
                assert field.nullable or default_of(field) is not None, f"{name}.{field.name}"


@pytest.mark.parametrize("publish", [lambda night, table: night.replace(table, night.read(table).drop("dt"))])
def test_a_night_goes_on_in_the_old_tables(
    spark: SparkSession, release: EarlierRelease, publish: Callable[[Warehouse, tables.Table], int]
) -> None:
    warehouse = release.warehouse(spark, "gone_on", FOURTH)
    list(migrate_tables([warehouse]))
    assert publish(warehouse, tables.CONCEPTS) == 2
