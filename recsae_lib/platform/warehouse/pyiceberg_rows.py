"""Rows of a published audit by PyIceberg: no Java starts, and what people ask is answered in a second.

It reads catalogs that it can open as Spark does: a folder of this machine, JDBC on SQLite, and REST, with tables on
the disk of this machine. Where it cannot, `open_rows` gives None and Spark reads: another catalog, a table that lies
elsewhere or was moved, a snapshot that is gone, nothing published. Spark then says what is wrong.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import NoSuchTableError, RESTError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, In, LessThanOrEqual
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from recsae_lib.platform.spark.session import read_properties, read_property
from recsae_lib.platform.warehouse.publications import Publication, last_of_each_date
from recsae_lib.platform.warehouse.rows import Among, Condition, Holding, UpTo

Load = Callable[[str, str], TableMetadata | None]  # namespace and name of a table; None where there is none

SQLITE = "jdbc:sqlite:"
PUBLICATION = ("publication", "dt", "model_version", "sae_version", "finished_at", "snapshots", "kept")


@dataclass(frozen=True)
class PyIcebergRows:
    """Tables of one publication, read by PyIceberg (`rows.PublishedRows`).

    Parameters
    ----------
    tables : by their names; those that the publication has.
    """

    publication: Publication
    tables: Mapping[str, Table]

    @property
    def dt(self) -> date:
        """Date of the audit."""
        return self.publication.dt

    @property
    def sae_version(self) -> int:
        """Version of the sparse autoencoder in the registry."""
        return self.publication.sae_version

    def read(self, table: str, columns: Sequence[str], *conditions: Condition) -> list[dict[str, Any]]:
        """Rows for which all conditions hold, see `rows.PublishedRows.read`."""
        if table not in self.tables or any(isinstance(c, Among) and not c.values for c in conditions):
            return []
        snapshot = self.publication.snapshots[table]
        scan = self.tables[table].scan(snapshot_id=snapshot)
        found = {field.name for field in scan.projection().fields}
        wanted: BooleanExpression = EqualTo("dt", self.dt.isoformat()) if "dt" in found else AlwaysTrue()
        for condition in conditions:
            wanted = And(wanted, _as_expression(condition))
        searched = [condition for condition in conditions if isinstance(condition, Holding)]
        known = tuple(sorted(found.intersection([*columns, *(condition.column for condition in searched)])))
        rows: list[dict[str, Any]] = []
        for batch in scan.filter(wanted).select(*known).to_arrow_batch_reader():
            for condition in searched:
                batch = batch.filter(_holds(batch.column(condition.column), condition.text))
            rows += batch.to_pylist()
        return [{name: row.get(name) for name in columns} for row in rows]


def open_rows(
    properties: Path, catalog: str, wanted: Mapping[str, str], audits: str, dt: date | None
) -> PyIcebergRows | None:
    """Open tables as the audit of a date published them last; None where Spark has to.

    Parameters
    ----------
    properties : Spark properties file, which declares the catalog.
    wanted : namespace of each table, by its name.
    audits : namespace of the table ``audits``.
    dt : of the audit; None for the newest that is published.
    """
    try:
        load = _loader(properties, catalog)
        publication = None if load is None else _publication(load, audits, dt)
        if load is None or publication is None:
            return None
        tables = {name: _table(load, wanted[name], name) for name in publication.snapshots.keys() & wanted.keys()}
    except (OSError, ValueError, RESTError, sqlite3.Error):  # Spark says what is wrong
        return None
    found = {name: table for name, table in tables.items() if table is not None}
    if any(name not in found or found[name].snapshot_by_id(publication.snapshots[name]) is None for name in tables):
        return None
    return PyIcebergRows(publication, found)


def _publication(load: Load, namespace: str, dt: date | None) -> Publication | None:
    """The last publication of a date, of the newest one where it is None."""
    audits = _table(load, namespace, "audits")
    if audits is None or not set(PUBLICATION).issubset(audits.schema().column_names):  # of release 0.2: not migrated
        return None
    rows = audits.scan(selected_fields=PUBLICATION).to_arrow().to_pylist()
    found = [
        Publication(row.pop("publication"), snapshots=dict(row.pop("snapshots")), **row)
        for row in sorted(rows, key=lambda row: int(row["publication"]))
    ]
    last = last_of_each_date(found)
    return next(iter(last.values()), None) if dt is None else last.get(dt)


def _table(load: Load, namespace: str, name: str) -> Table | None:
    """A table whose files lie on this machine. What its properties say of how to read files is not followed: they may
    name any Python class.
    """
    if (metadata := load(namespace, name)) is None or _local(metadata.location) is None:
        return None
    return Table((namespace, name), metadata, "", PyArrowFileIO(), NoopCatalog("published"))


def _loader(properties: Path, catalog: str) -> Load | None:
    """Who loads the tables of a catalog; None of one that PyIceberg does not open as Spark does."""
    if "PYSPARK_GATEWAY_PORT" in os.environ or not properties.is_file():  # spark-submit brings properties of its own
        return None
    name = f"spark.sql.catalog.{catalog}"
    kind, place, uri = (read_property(properties, f"{name}.{key}") for key in ("type", "warehouse", "uri"))
    if kind == "hadoop" and (folder := _local(place)) is not None:
        return partial(_of_folder, folder)
    if kind == "jdbc" and uri.startswith(SQLITE):
        return partial(_of_sqlite, Path(uri.removeprefix(SQLITE).partition("?")[0]), catalog)
    if kind == "rest":
        return _of_rest(catalog, read_properties(properties, f"{name}."))
    return None


def _of_folder(warehouse: Path, namespace: str, name: str) -> TableMetadata | None:
    """A table of a catalog of type hadoop; None also of one that was moved, which Spark refuses with the remedy."""
    folder = warehouse / namespace / name
    hint = folder / "metadata" / "version-hint.text"
    if not hint.is_file():
        return None
    version = int(hint.read_text("utf-8"))
    files = (folder / "metadata" / f"v{number}.metadata.json" for number in count(version + 1))
    # Like Iceberg: who was killed before it wrote the hint has committed all the same.
    *_, current = [folder / "metadata" / f"v{version}.metadata.json", *takewhile(Path.is_file, files)]
    metadata = _read(str(current))
    return metadata if os.path.realpath(_local(metadata.location) or "") == os.path.realpath(folder) else None


def _of_sqlite(file: Path, catalog: str, namespace: str, name: str) -> TableMetadata | None:
    query = (
        "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"
    )
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute(query, (catalog, namespace, name)).fetchone()
    return None if found is None or _local(found[0]) is None else _read(found[0])


def _of_rest(catalog: str, properties: Mapping[str, str]) -> Load:
    from pyiceberg.catalog.rest import RestCatalog

    served = RestCatalog(catalog, **properties)

    def load(namespace: str, name: str) -> TableMetadata | None:
        try:
            return served.load_table((namespace, name)).metadata
        except NoSuchTableError:
            return None

    return load


def _read(location: str) -> TableMetadata:
    return FromInputFile.table_metadata(PyArrowFileIO().new_input(location))


def _local(location: str) -> Path | None:
    """The path of a place on this machine, whole; None of any other place."""
    parts = urlsplit(location)
    return Path(parts.path).absolute() if location and parts.scheme in ("", "file") and not parts.netloc else None


def _as_expression(condition: Condition) -> BooleanExpression:
    """A condition as a scan takes it; Iceberg has none for `Holding`, which is looked at afterwards."""
    if isinstance(condition, Among):
        values: list[Any] = list(condition.values)
        return In(condition.column, values)
    return LessThanOrEqual(condition.column, condition.highest) if isinstance(condition, UpTo) else AlwaysTrue()


def _holds(values: pa.Array, text: str) -> pa.Array:
    """Whether each value holds a text, whatever the case. Python lowers as Java does, each different value once."""
    holding = [value for value in pc.unique(values).to_pylist() if value is not None and text.lower() in value.lower()]
    return pc.is_in(values, value_set=pa.array(holding, values.type))
