"""Rows of a published audit by Spark, from every catalog that it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsae_lib.platform.warehouse.publications import Publication
from recsae_lib.platform.warehouse.read_point import ReadPoint
from recsae_lib.platform.warehouse.rows import Among, Condition, UpTo
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import TABLES


@dataclass(frozen=True)
class SparkRows:
    """Tables of one publication, read by Spark (`rows.PublishedRows`)."""

    warehouse: Warehouse
    publication: Publication

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
        point = ReadPoint(self.publication, self.publication, (self.dt,))
        rows = point.read(self.warehouse, TABLES[table])
        wanted = reduce(Column.__and__, map(_as_column, conditions), F.lit(True))
        return [row.asDict() for row in rows.where(wanted).select(*columns).collect()]


def _as_column(condition: Condition) -> Column:
    column = F.col(condition.column)
    if isinstance(condition, Among):
        return column.isin(list(condition.values))
    if isinstance(condition, UpTo):
        return column <= F.lit(condition.highest)
    return F.contains(F.lower(column), F.lit(condition.text.lower()))
