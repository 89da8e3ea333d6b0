"""What commands ask of the tables of one published audit: rows as plain dictionaries, whoever reads them.

Two readers give the same rows: `pyiceberg_rows` starts no Java, `spark_rows` knows every catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol


@dataclass(frozen=True)
class Among:
    """Rows whose `column` has one of `values`; no row where there are none."""

    column: str
    values: tuple[str | int | bool, ...]


@dataclass(frozen=True)
class UpTo:
    """Rows whose `column` is at most `highest`."""

    column: str
    highest: int


@dataclass(frozen=True)
class Holding:
    """Rows whose `column` holds `text` somewhere; upper and lower case are the same."""

    column: str
    text: str


Condition = Among | UpTo | Holding


class PublishedRows(Protocol):
    """Tables of one audit, as it was published last."""

    @property
    def dt(self) -> date:
        """Date of the audit."""

    @property
    def sae_version(self) -> int:
        """Version of the sparse autoencoder in the registry."""

    def read(self, table: str, columns: Sequence[str], *conditions: Condition) -> list[dict[str, Any]]:
        """Rows for which all conditions hold, in no order: of the audit's date, of a table without ``dt`` all.

        Parameters
        ----------
        table : by its name; one that the audit has not, has no rows.
        columns : of the table; null in rows from before there was such a column.
        """
