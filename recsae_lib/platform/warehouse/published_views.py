"""Views by which a query reads published tables: all of one namespace as the same publication left them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.reading import parts_of
from recsae_lib.platform.warehouse.read_point import AsOf, ReadPoint, as_published
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDITS, TABLES


@dataclass
class PublishedViews:
    """Makes the views of one query when they are asked for.

    Parameters
    ----------
    warehouse : whose tables go by their names alone.
    as_of : see `read_point_as_of`; None for now.
    owner : ends the names of views that no other query shares.
    """

    warehouse: Warehouse
    as_of: AsOf | None = None
    owner: str = ""
    _points: dict[str, ReadPoint] = field(default_factory=dict)
    _views: dict[str, DataFrame] = field(default_factory=dict)

    def view_of(self, parts: Sequence[str]) -> str | None:
        """Return the name of a view of a table; None of what is no table that audits or people's ratings fill.

        Parameters
        ----------
        parts : catalog, namespace and name of the table, as far as they are given.
        """
        *before, name = parts
        if name not in TABLES or len(before) > 2 or (len(before) == 2 and before[0] != self.warehouse.catalog):
            return None
        table, warehouse = TABLES[name], self.warehouse
        if not before and not warehouse.namespaces[table.scope]:  # a client of the SQL server is in another catalog
            return None
        if before and before[-1] != warehouse.namespaces[table.scope]:
            if table.scope != "audit":  # which audit's, nobody knows
                return None
            warehouse = Warehouse(
                warehouse.spark, warehouse.catalog, dict.fromkeys(warehouse.namespaces, before[-1]), warehouse.dt
            )
        if not warehouse.exists(table) or (table.scope != "audit" and not warehouse.exists(AUDITS)):
            return None
        namespace = warehouse.namespaces["audit"]
        if namespace not in self._points:
            self._points[namespace] = as_published(warehouse, self.as_of)
        point = self._points[namespace]
        # The same name means the same rows: clients of the SQL server may share a view.
        seen = (point, table.name, self.owner, point.is_now and warehouse.references(table))
        view = f"{namespace}__{name}__{hashlib.sha256(repr(seen).encode()).hexdigest()[:16]}"
        if view not in self._views:
            self._views[view] = point.read(warehouse, table)
            self._views[view].createOrReplaceGlobalTempView(view)
        return f"global_temp.{view}"

    def require_rows(self) -> None:
        """Refuse a query of a date by which nothing was published.

        Raises
        ------
        InputError : no view has a row.
        """
        if not self._points or any(point.newest for point in self._points.values()) or self.as_of is None:
            return
        if all(rows.isEmpty() for rows in self._views.values() if "dt" in rows.columns):
            raise InputError(
                f"No audit of {', '.join(self._points)} up to {self.as_of} is in the tables",
                "Give a later date; `recsae sql 'SELECT dt, finished_at FROM audits'` lists what was published",
            )

    def drop(self) -> None:
        """Drop the views; queries that were analysed keep what they read."""
        for view in self._views:
            self.warehouse.spark.catalog.dropGlobalTempView(view)
        self._views.clear()


def refuse_unpublished(plan: Any) -> None:
    """Refuse a query that reads a table past its publications.

    Parameters
    ----------
    plan : logical plan, as analysed; a Java object.

    Raises
    ------
    InputError : names the table.
    """
    for part in parts_of(plan):
        if part.getClass().getSimpleName() != "DataSourceV2Relation" or part.identifier().isEmpty():
            continue
        table, identifier = part.table(), part.identifier().get()
        if table.getClass().getSimpleName() != "SparkTable" or len(identifier.namespace()) != 1:
            continue
        declared = TABLES.get(str(identifier.name()).lower())
        if declared is None or declared.published_by == "directly" or declared.scope != "audit":
            continue
        of_version = table.snapshotId() is not None or table.branch() is not None
        if not of_version and part.options().get("snapshot-id") is None:
            raise InputError(
                f"The query reads {identifier.namespace()[0]}.{declared.name} as it stands, which may be half an audit",
                "Name the table as it is written, without IDENTIFIER and not as a name that WITH defines; or say which "
                "version: VERSION AS OF 'published-…'",
            )
