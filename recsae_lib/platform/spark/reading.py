"""Whether a query only reads: its plan is judged as a whole, with all that is nested in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark import SparkContext
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError

PLANS = "org.apache.spark.sql.catalyst.plans.logical"
# Statements that do something, and the two that write files or start a program although Spark has them among queries.
DOING = (
    *(f"{PLANS}.Command", f"{PLANS}.ParsedStatement"),
    *(f"{PLANS}.InsertIntoDir", f"{PLANS}.ScriptTransformation"),
)
TELLING = ("Show", "Describe", "Explain")  # how the commands begin that change nothing
# USE changes what a name means in the session that says it. CommandResult is what a command that was run has told.
HARMLESS = {"SetCatalogAndNamespace", "SetNamespaceCommand", "SetCatalogCommand", "CommandResult"}
# What rows may come from: Iceberg's tables, what the query says itself, views that this process has made.
SOURCES = {"LocalRelation", "OneRowRelation", "EmptyRelation", "Range", "LogicalRDD", "CTERelationRef", "CommandResult"}
NO_SOURCES = (f"{PLANS}.Command", "org.apache.spark.sql.catalyst.analysis.UnresolvedNode")
RUNNING_CODE = {"java_method", "reflect", "try_reflect"}  # SQL functions that call any Java method
# What they are once they are analysed; and functions that somebody has registered. Spark's own are in BUILT_IN.
CALLING = {"CallMethodViaReflection", "TryReflect", "ScalaUDF", "PythonUDF", "PythonUDAF"}
BUILT_IN = "org.apache.spark.sql.catalyst."
FILES = "spark.sql.runSQLOnFiles"  # Spark property: whether text.`/etc/passwd` is a table


def refuse_unless_reading(context: SparkContext, plan: Any) -> None:
    """Refuse a plan that would change something, run code, or read from elsewhere than tables.

    Parameters
    ----------
    plan : logical plan, a Java object, as parsed or as analysed. Only an analysed one shows what views are made of.

    Raises
    ------
    InputError : names the part that does more than read.
    """
    name = _simple_name(plan)
    if name == "ExplainCommand":  # explains statements of every kind, and runs none; but it works out constants
        for part in parts_of(plan.logicalPlan()):
            _refuse_code(part)
        return
    for part in parts_of(plan):
        name = _simple_name(part)
        does = any(is_instance_of(context._gateway, part, kind) for kind in DOING)
        if does and name not in HARMLESS and not name.startswith(TELLING):
            raise InputError(f"{name} does more than read", "Only queries are taken: SELECT, DESCRIBE, SHOW, EXPLAIN")
        if not _is_known_source(context, part, name):
            raise InputError(f"The query reads from {name}, which is no table of ours", "SHOW TABLES lists the tables")
        _refuse_code(part)


def parts_of(plan: Any) -> Iterator[Any]:
    """Yield a plan and all that is nested in it: what it reads from, subqueries, common table expressions, views."""
    yield plan
    for nested in (plan.children(), plan.innerChildren()):
        for part in _each(nested):
            yield from parts_of(part)


@contextmanager
def without_files(spark: SparkSession) -> Iterator[None]:
    """Let only tables be named in queries, no files of the machine."""
    before = spark.conf.get(FILES)
    spark.conf.set(FILES, "false")
    try:
        yield
    finally:
        spark.conf.set(FILES, str(before))


def _is_known_source(context: SparkContext, part: Any, name: str) -> bool:
    """Whether a part of a plan reads nothing, or from where it may."""
    is_source = is_instance_of(context._gateway, part, f"{PLANS}.LeafNode")
    if not is_source or name in SOURCES or name.startswith("Resolved"):
        return True
    if name == "DataSourceV2Relation":
        catalog = part.catalog()
        return bool(catalog.isDefined()) and str(catalog.get().getClass().getName()).startswith("org.apache.iceberg.")
    return any(is_instance_of(context._gateway, part, kind) for kind in NO_SOURCES)


def _refuse_code(part: Any) -> None:
    unseen = list(_each(part.expressions()))
    while unseen:
        expression = unseen.pop()
        name = _simple_name(expression)
        called = expression.nameParts().last().lower() if name == "UnresolvedFunction" else ""
        if name in CALLING or called in RUNNING_CODE:
            raise InputError("java_method, reflect and functions of others run code", "Leave them out of the query")
        if not str(expression.getClass().getName()).startswith(BUILT_IN):
            raise InputError(f"{name} is no function of Spark's", "Leave it out of the query")
        unseen.extend(_each(expression.children()))


def _each(sequence: Any) -> Iterator[Any]:
    return (sequence.apply(number) for number in range(sequence.size()))


def _simple_name(part: Any) -> str:
    return str(part.getClass().getName()).rpartition(".")[2].rstrip("$")
