"""What is left of a user in the files of a table, whether a snapshot knows them or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import fsspec
import pyarrow.parquet as pq

from recsae_lib.platform.warehouse.relocation import bare_path
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import INTERACTIONS, Table
from recsae_lib.platform.warehouse.tables.users import UserColumn

FILES_A_TASK = 16


@dataclass(frozen=True)
class Trace:
    """A data file with rows of the user.

    Parameters
    ----------
    location : of the file.
    rows : of the user.
    is_known : whether some snapshot has the file.
    created : milliseconds since 1970.
    """

    location: str
    rows: int
    is_known: bool
    created: int


def application_namespaces(warehouse: Warehouse) -> list[str]:
    """Namespaces of the data, of the models on them and of their sites: ``data`` and all ``data__…`` that exist, but
    those that are applications of their own, with interactions of their own.
    """
    data = warehouse.namespaces["data"]
    listed = warehouse.spark.sql(f"SHOW NAMESPACES IN {warehouse.catalog}").collect()  # a few
    found = sorted(row[0] for row in listed if row[0] == data or row[0].startswith(f"{data}__"))
    known = warehouse.spark.catalog
    others = [n for n in found if n != data and known.tableExists(f"{warehouse.catalog}.{n}.{INTERACTIONS.name}")]
    return [n for n in found if not any(n == other or n.startswith(f"{other}__") for other in others)]


def traces(warehouse: Warehouse, table: Table, column: UserColumn, user: str) -> list[Trace]:
    """Look into every data file below the place of a table."""
    iceberg = warehouse.iceberg(table)
    known_files = warehouse.spark.read.table(f"{warehouse.full_name(table)}.all_data_files").select("file_path")
    known = {bare_path(row["file_path"]) for row in known_files.collect()}  # names of files
    below, listed = {}, iceberg.io().listPrefix(iceberg.location()).iterator()
    while listed.hasNext():
        file = listed.next()
        if file.location().endswith(".parquet"):
            below[file.location()] = int(file.createdAtMillis())

    def count(location: str) -> tuple[str, int]:
        return location, rows_in_file(location, column, user)

    tasks = warehouse.spark.sparkContext.parallelize(list(below), max(len(below) // FILES_A_TASK, 1))
    found = tasks.map(count).filter(lambda counted: counted[1] > 0).collect()  # a file of the user's each
    return [Trace(where, rows, bare_path(where) in known, below[where]) for where, rows in sorted(found)]


def remove_unknown(warehouse: Warehouse, table: Table, found: Iterable[Trace], before: int) -> None:
    """Remove files that no snapshot knows, of runs that were killed; a younger one may be of a commit under way.

    Parameters
    ----------
    before : milliseconds since 1970.
    """
    io = warehouse.iceberg(table).io()
    for trace in found:
        if not trace.is_known and trace.created < before:
            io.deleteFile(trace.location)


def rows_in_file(location: str, column: UserColumn, user: str) -> int:
    """Rows of a user in a Parquet file; none in one that has not the column."""
    file_system, path = fsspec.core.url_to_fs(location)
    with file_system.open(path) as file, pq.ParquetFile(file) as parquet:
        if not set(column.names) <= set(parquet.schema_arrow.names):
            return 0
        return sum(column.count_in(batch, user) for batch in parquet.iter_batches(columns=column.names))
