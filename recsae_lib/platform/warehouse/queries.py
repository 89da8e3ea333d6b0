"""Queries of people: read only, with parameters, of whole audits, now or as they were published earlier."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from recsae_lib.errors import InputError, lost_connection
from recsae_lib.platform.spark.reading import parts_of, refuse_unless_reading, without_files
from recsae_lib.platform.spark.relations import named_relations, with_names
from recsae_lib.platform.warehouse.commits import JVM_ERRORS
from recsae_lib.platform.warehouse.published_views import PublishedViews, refuse_unpublished
from recsae_lib.platform.warehouse.read_point import AsOf
from recsae_lib.platform.warehouse.references import branch_date
from recsae_lib.platform.warehouse.store import Warehouse

# Spark would put environment variables and Java properties in the place of ${env:NAME} and ${system:NAME}.
NO_SUBSTITUTION = {"spark.sql.variable.substitute": "false"}


def run_query(
    warehouse: Warehouse, query: str, parameters: Mapping[str, Any] | None = None, as_of: AsOf | None = None
) -> DataFrame:
    """Return what a query gives; tables go by their names alone, or by namespace and name.

    Every table is read as a publication left it; all tables of a namespace as the same one did.

    Parameters
    ----------
    parameters : values of the markers ``:name`` in the query; they are never part of its text.
    as_of : a date: the tables as the newest audit up to this date had published them; or a moment, in UTC: as they were
        published then; in the form that today's version gives them. None for now. Tables that are published directly
        have no such past: of the list of audits, of comparisons and of what people rate, often long after the audit,
        the rows are shown that stand there now for dates up to this one (all rows of a table without ``dt``).

    Raises
    ------
    InputError : the text does more than read, Spark refuses it, or nothing was published by then.
    """
    spark = warehouse.spark
    for name, value in NO_SUBSTITUTION.items():
        spark.conf.set(name, value)
    with explained_refusals(), without_files(spark):
        # Before Spark is given it: statements that do something run at once.
        plan = spark._jsparkSession.sessionState().sqlParser().parsePlan(query)
        refuse_unless_reading(spark.sparkContext, plan)
        spark.sql(f"USE {warehouse.catalog}.{warehouse.namespaces['audit']}")
        views = PublishedViews(warehouse, as_of, owner=uuid.uuid4().hex)
        try:
            names = {named: view for named in named_relations(plan) if (view := views.view_of(named.parts))}
            views.require_rows()
            rows = spark.sql(with_names(query, names), args=dict(parameters or {}))  # analysed at once: views may go
        finally:
            views.drop()
        analysed = rows._jdf.queryExecution().analyzed()
        refuse_unless_reading(spark.sparkContext, analysed)
        refuse_unpublished(analysed)
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
        heads = {name: reference.snapshotId() for name, reference in table.table().refs().items()}
        published = {snapshot for name, snapshot in heads.items() if branch_date(name) is None}
        branches = [name for name, head in heads.items() if branch_date(name) and head not in published]
        if branches:
            namespace = ".".join(part.identifier().get().namespace())
            found[f"{namespace}.{part.identifier().get().name()}"] = sorted(branches)
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
