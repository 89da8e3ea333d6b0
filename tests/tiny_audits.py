"""Audits of four tiny tables, each of which holds one number: how they run, are published, and are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row

from jobs import publish_audit
from recsae_lib.platform.warehouse import publications as listing
from recsae_lib.platform.warehouse import publishing, read_point, store
from recsae_lib.platform.warehouse.commits import local_folder
from recsae_lib.platform.warehouse.fencing import UPKEEP_PROPERTY
from recsae_lib.platform.warehouse.publications import Publication
from recsae_lib.platform.warehouse.publishing import Origin, publish_tables, record_refusal
from recsae_lib.platform.warehouse.references import tagged_date
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import (
    AUDIT_METRICS,
    AUDITS,
    CONCEPT_LABELS,
    CONCEPT_RATINGS,
    ITEMS,
    REJECTS,
    Table,
)
from tests.interleaving import Run, pause
from tests.publication_model import Seen
from tests.publishing import STARTED

OWN, SHARED = (AUDIT_METRICS, CONCEPT_LABELS), (ITEMS, REJECTS)
COLUMNS = {  # what stands for the contents of a table, after its date
    ITEMS: ("title",),
    REJECTS: ("dt", "reason"),
    AUDIT_METRICS: ("dt", "sae_version"),
    CONCEPT_LABELS: ("dt", "label"),
    CONCEPT_RATINGS: ("rater", "rating"),
}
ROWS = " UNION ALL ".join(
    f"SELECT '{name}', {dt}, {value} FROM {name}"
    for name, dt, value in (
        ("audit_metrics", "dt", "sae_version"),
        ("concept_labels", "dt", "label"),
        ("items", "NULL", "title"),
        ("rejects", "dt", "reason"),
    )
)


@dataclass
class Aliases:
    """Stands for the registry: which SAE is champion, by name."""

    champions: dict[str, int] = field(default_factory=dict)

    def promote(self, name: str, version: int) -> int | None:
        pause()  # MLflow is far away
        before = self.champions.get(name)
        self.champions[name] = version
        return before

    def version_with(self, name: str, version: int) -> int | None:
        return None  # no recommender is registered

    def tags(self, name: str, version: int) -> dict[str, str]:
        return {}

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        pass


@dataclass(eq=False)
class Attempt:
    """A run of an audit; for the job `publish_audit` it is the context."""

    model: str
    warehouse: Warehouse
    registry: Aliases
    version: int
    ingests: bool = False
    refused: bool = False
    run: Run = field(init=False)

    @property
    def dt(self) -> date:
        return self.warehouse.dt

    @property
    def sae_name(self) -> str:
        return self.model

    @property
    def recommender_name(self) -> str:
        return f"recommender-{self.model}"


def write(attempt: Attempt, tables: Sequence[Table]) -> None:
    """Write what the jobs of an audit write, its version into each table."""
    version, text = attempt.version, f"v{attempt.version}"
    rows: dict[Table, Any] = {
        ITEMS: (("i", text, "", [], []), ITEMS.schema),
        REJECTS: (("items", "file", 1, text, ""), REJECTS.row_schema),
        AUDIT_METRICS: ((version, "sae", "fvu", 0.5), AUDIT_METRICS.versioned_row_schema),
        CONCEPT_LABELS: (
            (version, 1, text, "", [], "terms", None, None, None, "labelled"),
            CONCEPT_LABELS.versioned_row_schema,
        ),
    }
    for table in tables:
        row, schema = rows[table]
        attempt.warehouse.replace(table, attempt.warehouse.spark.createDataFrame([row], schema))


def run_last_job(attempt: Attempt) -> None:
    """Run the job that publishes, at one site."""
    job: Any = publish_audit.run
    job.__wrapped__(attempt)


def publish(attempt: Any) -> None:
    """Stands for the job's own `publish`: the checks are known."""
    origin = origin_of(attempt, 1, attempt.version)
    if attempt.refused:
        record_refusal(attempt.warehouse, origin)
    else:
        publish_audit.announce(attempt, publish_tables(attempt.warehouse, origin))


def origin_of(attempt: Any, model_version: int, sae_version: int) -> Origin:
    return Origin(model_version, sae_version, STARTED + timedelta(minutes=sae_version), "digest", "code")


def remove_date(warehouse: Warehouse) -> None:
    """Do what the upkeep does to a date: a mark first, then its tags and rows go; and another order of manifests."""
    dt, name = warehouse.dt.isoformat(), warehouse.full_name(AUDITS)
    warehouse.change(
        AUDITS, lambda: warehouse.spark.sql(f"UPDATE {name} SET kept = false WHERE dt = DATE '{dt}'").collect()
    )
    jvm: Any = warehouse.spark.sparkContext._jvm
    of_date = jvm.org.apache.iceberg.expressions.Expressions.equal("dt", dt)

    def drop_tags(table: Table) -> None:
        changes = warehouse.iceberg(table).manageSnapshots()
        for tag in warehouse.references(table):
            if tagged_date(tag) == warehouse.dt:
                changes = changes.removeTag(tag)
        changes.commit()

    def remove_rows(table: Table) -> None:
        delete = warehouse.iceberg(table).newDelete().deleteFromRowFilter(of_date)
        delete.set(UPKEEP_PROPERTY, "true").commit()

    def rewrite(table: Table) -> None:
        warehouse.iceberg(table).rewriteManifests().commit()

    for table in OWN:
        warehouse.change(table, partial(drop_tags, table))
        warehouse.change(table, partial(remove_rows, table))
        warehouse.change(table, partial(rewrite, table))


class Contents:
    """Reads tables by Iceberg's own interface, without a job of Spark; each snapshot once, for none ever changes."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], list[tuple[str, ...]]] = {}
        self._listed: dict[tuple[str, int], list[Publication]] = {}
        self._folder: Path | None = None
        self._there: set[tuple[str, int, int]] = set()
        self._found: dict[tuple[str, str], tuple[int, Any]] = {}
        self.looks = False  # while no run does anything, what is known of a table holds until its next version

    def version(self, warehouse: Warehouse, table: Table) -> int:
        """How often a table has changed: in a catalog that is a folder each commit is a file with its number."""
        *_, namespace, name = warehouse.full_name(table).split(".")
        if self._folder is None:
            self._folder = local_folder(warehouse.spark, warehouse.catalog)
        assert self._folder is not None
        names = os.listdir(self._folder / namespace / name / "metadata")
        return max(int(file[1:].partition(".")[0]) for file in names if file.endswith(".metadata.json"))

    def rows(self, warehouse: Warehouse, table: Table, snapshot: int) -> list[tuple[str, ...]]:
        """The `COLUMNS` of all rows of a snapshot."""
        iceberg, key = warehouse.iceberg(table), (warehouse.full_name(table), snapshot)
        there = (*key, self.version(warehouse, table))
        if there not in self._there:
            assert iceberg.snapshot(snapshot) is not None, f"{key} is gone"
            self._there.add(there)
        if key not in self._rows:
            jvm: Any = warehouse.spark.sparkContext._jvm
            records = jvm.org.apache.iceberg.data.IcebergGenerics.read(iceberg).useSnapshot(snapshot).build()
            self._rows[key], iterator = [], records.iterator()
            while iterator.hasNext():
                record = iterator.next()
                self._rows[key].append(tuple(str(record.getField(name)) for name in COLUMNS[table]))
            records.close()
        return self._rows[key]

    def seen(self, warehouse: Warehouse, point: read_point.ReadPoint) -> Seen:
        """What readers see."""

        def rows(table: Table) -> list[tuple[str, ...]]:
            snapshot = point.snapshot_of(warehouse, table)
            found = [] if snapshot is None else self.rows(warehouse, table, snapshot)
            dates = {str(dt) for dt in point.dates}
            return [row for row in found if row[0] in dates] if table.partitioned_by_date else found

        return as_seen({table.name: rows(table) for table in (*OWN, *SHARED)})

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the code that is tested read the list of publications, and load tables, in this way too."""
        listed = listing.publications

        def publications(warehouse: Warehouse, snapshot: int | None = None) -> list[Publication]:
            snapshot = warehouse.references(AUDITS).get("main") if snapshot is None else snapshot
            if snapshot is None:
                return []
            key = warehouse.full_name(AUDITS), snapshot
            if key not in self._listed:
                self._listed[key] = listed(warehouse, snapshot)
            return list(self._listed[key])

        def remember(name: str) -> None:
            method = getattr(Warehouse, name)

            def remembered(warehouse: Warehouse, table: Table) -> Any:
                if not self.looks:
                    return method(warehouse, table)
                key, version = (name, warehouse.full_name(table)), self.version(warehouse, table)
                if key not in self._found or self._found[key][0] != version:
                    self._found[key] = version, method(warehouse, table)
                return self._found[key][1]

            monkeypatch.setattr(Warehouse, name, remembered)

        for module in (listing, publishing, read_point, store, publish_audit):
            monkeypatch.setattr(module, "publications", publications)
        for name in ("exists", "iceberg", "references"):
            remember(name)


def make_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have audits be of four tables, published one after the other, by a job that knows what its checks say."""
    monkeypatch.setattr(publishing, "AUDIT_TABLES", (*SHARED, *OWN))
    monkeypatch.setattr(publishing, "side_by_side", lambda action, given: [action(one) for one in given])
    monkeypatch.setattr(publish_audit, "publish", publish)
    monkeypatch.setattr(publish_audit, "origin_of", origin_of)
    monkeypatch.setattr(publish_audit, "describe", lambda *_: None)


def rows_seen(rows: Sequence[Row]) -> Seen:
    """What the query `ROWS` has found."""
    found: dict[str, list[tuple[str, ...]]] = {table.name: [] for table in COLUMNS}
    for name, dt, value in rows:
        found[name].append((value,) if dt is None else (str(dt), value))
    return as_seen(found)


def as_versions(rows: Sequence[tuple[str, ...]]) -> frozenset[tuple[date, int]]:
    """Dates with the version that they hold, of rows of which none is twice there."""
    assert len(set(rows)) == len(rows)
    return frozenset((date.fromisoformat(dt), int(value.removeprefix("v"))) for dt, value in rows)


def as_seen(rows: Mapping[str, Sequence[tuple[str, ...]]]) -> Seen:
    """Contents of the tables by their names, where those of an audit agree."""
    metrics, labels = (as_versions(rows[table.name]) for table in OWN)
    assert metrics == labels, "half an audit"
    undated = frozenset(int(title.removeprefix("v")) for (title,) in rows[ITEMS.name])
    return Seen(metrics, as_versions(rows[REJECTS.name]), undated)
