"""How long interactions and items of past nights are kept, and how the upkeep merges the files of a table."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

from recsae_lib.platform.warehouse.nights import Nights
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.raw_history import FILE_BYTES
from recsae_lib.platform.warehouse.references import earlier_tagged_date
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import INTERACTIONS, ITEMS, Table

SMALL_FILES = 5  # of one partition that are rewritten together
SMALL_SHARE = 1 / 16  # of a table: files below it are merged with each other, those above it are left as they are
NEVER_SPLIT = 1 << 40  # bytes


def drop_raw_nights(warehouse: Warehouse, dt: date, keep_nights: int, nights: Nights) -> list[str]:
    """Drop the tags by which earlier nights of the namespace hold raw rows; returns their names.

    Never those of the newest date nor of the last publication, which readers see, nor of a night that a run holds. The
    other tables of these nights stay as they are. A snapshot that nothing holds any more expires with the upkeep of its
    table.

    Parameters
    ----------
    dt, keep_nights : so many nights stay, counted back from this date, or from the newest published one where that is
        earlier.
    nights : that are free.
    """
    found, namespace = publications(warehouse), warehouse.namespaces["audit"]
    newest = max((publication.dt for publication in found if publication.kept), default=None)
    if newest is None:
        return []
    first = min(dt, newest) - timedelta(days=keep_nights - 1)
    tags = {publication.tag(namespace): publication.dt for publication in found}
    staying = {newest, found[-1].dt}

    def leaves(name: str) -> bool:
        dt = tags.get(name) or earlier_tagged_date(name)
        return dt is not None and dt < first and dt not in staying and nights.take(dt)

    def drop(table: Table) -> list[str]:
        names = list(filter(leaves, warehouse.references(table)))
        if names:
            changes = warehouse.iceberg(table).manageSnapshots()
            for name in names:
                changes = changes.removeTag(name)
            changes.commit()
        return names

    tables = filter(warehouse.exists, (INTERACTIONS, ITEMS))
    return sorted({name for table in tables for name in warehouse.change(table, partial(drop, table))})


def merge_small_files(warehouse: Warehouse, table: Table) -> None:
    """Write small data files of main together, in one commit.

    What is merged is written once more while the tags of past nights hold what it was merged from. In interactions and
    items a file is small by the size of the table: the files of a few nights are merged with each other, not with the
    rest of the table over and over.
    """
    options: dict[str, int] = {"min-input-files": SMALL_FILES}
    main = warehouse.iceberg(table).currentSnapshot()
    if main is None:
        return
    if table in (INTERACTIONS, ITEMS):
        smallest = int(int(main.summary().get("total-files-size") or 0) * SMALL_SHARE)
        options["target-file-size-bytes"] = FILE_BYTES
        options["min-file-size-bytes"] = min(smallest, FILE_BYTES * 3 // 4)
        options["max-file-size-bytes"] = NEVER_SPLIT
    listed = ", ".join(f"'{name}', '{value}'" for name, value in options.items())
    of_catalog = warehouse.full_name(table).removeprefix(f"{warehouse.catalog}.")
    statement = f"CALL {warehouse.catalog}.system.rewrite_data_files(table => {of_catalog!r}, options => map({listed}))"
    warehouse.change(table, lambda: warehouse.spark.sql(statement))
