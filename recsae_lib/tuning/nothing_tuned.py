"""The tables of tunings in a night without tunings: they are there, and empty."""

from __future__ import annotations

from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse

TABLES = (tables.TUNED_RECOMMENDATIONS, tables.TUNING_EFFECTS)


def write_nothing(warehouse: Warehouse) -> None:
    """Replace this audit's part of the tables by no rows."""
    for table in TABLES:
        warehouse.replace(table, table.empty(warehouse.spark))


def write_nothing_where_skipped(warehouse: Warehouse) -> None:
    """Do it where the job that writes the tables did not run: a scheduler skips it without tunings."""
    if any(warehouse.snapshot_id(table) is None or not warehouse.read(table).isEmpty() for table in TABLES):
        write_nothing(warehouse)
