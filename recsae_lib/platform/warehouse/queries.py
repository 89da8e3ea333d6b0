"""Queries of people: read only, with parameters, today or as the tables were published on a date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from recsae_lib.errors import InputError, lost_connection
from recsae_lib.platform.spark.reading import parts_of, refuse_unless_reading, without_files
from recsae_lib.platform.warehouse.commits import JVM_ERRORS
from recsae_lib.platform.warehouse.maintenance import is_branch_of_night
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import TABLES


def run_query(
    warehouse: Warehouse, query: str, parameters: Mapping[str, Any] | None = None, as_of: date | None = None
) -> DataFrame:
    """Return what a query gives; tables go by their names alone.

    Parameters
    ----------
    parameters : values of the markers ``:name`` in the query; they are never part of its text.
    as_of : the tables as the newest audit up to this date had published them, in the form that today's version gives
        them; None for now. Tables that are published directly have no such past: of the list of audits, of comparisons
        and of what people rate, often long after the audit, the rows are shown that stand there now for dates up to
        this one (all rows of a table without ``dt``).

    Raises
    ------
    InputError : the text does more than read, Spark refuses it, or nothing was published by then.
    """
    spark = warehouse.spark
    with explained_refusals(), without_files(spark):
        # Before Spark is given it: statements that do something run at once.
        plan = spark._jsparkSession.sessionState().sqlParser().parsePlan(query)
        refuse_unless_reading(spark.sparkContext, plan)
        spark.sql(f"USE {warehouse.catalog}.{warehouse.namespaces['audit']}")
        views = _show_as_of(warehouse, as_of) if as_of is not None else []
        try:
            rows = spark.sql(query, args=dict(parameters or {}))  # analysed at once: the views may go
        finally:
            for view in views:
                spark.catalog.dropTempView(view)
        refuse_unless_reading(spark.sparkContext, rows._jdf.queryExecution().analyzed())
    return rows


def unpublished_branches(rows: DataFrame) -> dict[str, list[str]]:
    """Branches of audits that a query does not show, since they are not published, by the table that it reads.

    Parameters
    ----------
    rows : of `run_query`.
    """
    found: dict[str, list[str]] = {}
    for part in parts_of(rows._jdf.queryExecution().analyzed()):
        if part.getClass().getSimpleName() != "DataSourceV2Relation":
            continue
        table = part.table()
        if table.getClass().getSimpleName() != "SparkTable" or table.branch() is not None or table.snapshotId():
            continue
        if branches := [name for name in table.table().refs() if name != "main" and is_branch_of_night(name)]:
            found[str(part.identifier().get().name())] = sorted(branches)
    return found


@contextmanager
def explained_refusals() -> Iterator[None]:
    """Say in one line why Spark does not take a query, or cannot work it out.

    Raises
    ------
    InputError : in place of Spark's error.
    """
    try:
        yield
    except JVM_ERRORS as error:
        if lost_connection(error) is not None:
            raise
        said = str(error) if isinstance(error, PySparkException) else str(error.java_exception.getMessage())
        reason = said.split("JVM stacktrace")[0].strip().split(";\n")[0].split("\n\tat ")[0].replace("\n", " ")
        if "Cannot find matching snapshot ID or reference name" in reason:
            remedy = "`SELECT name, type FROM NAMESPACE.TABLE.refs` lists the tags and branches of a table"
        else:
            remedy = (
                "SHOW TABLES lists the tables, DESCRIBE their columns; --parameter NAME=VALUE gives a value to :NAME"
            )
        raise InputError(f"Spark refuses the query: {reason}", remedy) from None


def _show_as_of(warehouse: Warehouse, as_of: date) -> list[str]:
    """Put temporary views before the tables that exist; returns their names."""
    shown: dict[str, DataFrame] = {}
    tagged = False
    for table in filter(warehouse.exists, TABLES.values()):
        rows = warehouse.read_all(table)
        if table.published_by == "audit":
            dates = [dt for dt in published_dates(warehouse.references(table)) if dt <= as_of]
            rows = warehouse.read_as_published(table, max(dates)) if dates else rows.limit(0)
            tagged |= bool(dates)
        # A night that was run again late has the nights after it in its snapshot.
        shown[table.name] = rows.where(rows["dt"] <= as_of) if table.partitioned_by_date else rows
    if not tagged and all(rows.isEmpty() for rows in shown.values() if "dt" in rows.columns):
        raise InputError(
            f"No audit of {warehouse.namespaces['audit']} up to {as_of} is in the tables",
            "Give a later date; `recsae sql 'SELECT dt, status FROM audits'` lists what was published",
        )
    for name, rows in shown.items():
        rows.createOrReplaceTempView(name)
    return list(shown)


def published_dates(references: Mapping[str, int]) -> list[date]:
    """Dates of the audits that a table has tags of."""
    tags = (name.removeprefix("published-") for name in references if name.startswith("published-"))
    return [date.fromisoformat(tag) for tag in tags]
