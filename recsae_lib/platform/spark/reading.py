"""Whether a query only reads: its plan is judged as a whole, with all that is nested in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark import SparkContext

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
RUNNING_CODE = {"java_method", "reflect"}  # SQL functions that call any Java method


def refuse_unless_reading(context: SparkContext, plan: Any) -> None:
    """Refuse a plan that would change something, or run code.

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
        _refuse_code(part)


def parts_of(plan: Any) -> Iterator[Any]:
    """Yield a plan and all that is nested in it: what it reads from, subqueries, common table expressions, views."""
    yield plan
    for nested in (plan.children(), plan.innerChildren()):
        for part in _each(nested):
            yield from parts_of(part)


def _refuse_code(part: Any) -> None:
    unseen = list(_each(part.expressions()))
    while unseen:
        expression = unseen.pop()
        name = _simple_name(expression)
        called = expression.nameParts().last().lower() if name == "UnresolvedFunction" else ""
        if name == "CallMethodViaReflection" or called in RUNNING_CODE:
            raise InputError("java_method and reflect run code", "Leave them out of the query")
        unseen.extend(_each(expression.children()))


def _each(sequence: Any) -> Iterator[Any]:
    return (sequence.apply(number) for number in range(sequence.size()))


def _simple_name(part: Any) -> str:
    return str(part.getClass().getName()).rpartition(".")[2].rstrip("$")
