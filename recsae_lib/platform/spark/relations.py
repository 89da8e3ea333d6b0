"""Which tables a query names, and where in its text: by Spark's own parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What stands above a relation with a name of its own, before TABLESAMPLE, or in the form `TABLE name`.
WITHOUT_ALIAS = {
    *("", "SubqueryAlias", "Sample", "Union", "Except", "Intersect", "Distinct", "Sort", "GlobalLimit", "LocalLimit"),
}


@dataclass(frozen=True)
class NamedRelation:
    """A table or view that a query reads by its name.

    Parameters
    ----------
    parts : catalog, namespace and name, as far as they are given.
    start, stop : place of the first and last character of the name in the text.
    takes_alias : whether a name for its columns may follow: not where the query gives one.
    """

    parts: tuple[str, ...]
    start: int
    stop: int
    takes_alias: bool


def named_relations(plan: Any) -> list[NamedRelation]:
    """Return what a query reads by name, at each place; not what it reads as of a version, or defines itself by WITH.

    Parameters
    ----------
    plan : logical plan, as parsed; a Java object.
    """
    found = list(_walk(plan, "", frozenset()))
    return sorted(found, key=lambda relation: relation.start)


def with_names(text: str, names: Mapping[NamedRelation, str]) -> str:
    """Return the text of a query with other names in the place of some; columns may be qualified as before."""
    for relation in sorted(names, key=lambda relation: relation.start, reverse=True):
        alias = f" AS `{relation.parts[-1].replace('`', '``')}`" if relation.takes_alias else ""
        text = text[: relation.start] + names[relation] + alias + text[relation.stop + 1 :]
    return text


def _walk(plan: Any, above: str, defined: frozenset[str]) -> Iterator[NamedRelation]:
    kind = str(plan.getClass().getSimpleName())
    if kind == "UnresolvedRelation":
        parts = tuple(_each(plan.multipartIdentifier()))
        origin = plan.origin()
        shadowed = len(parts) == 1 and parts[0].lower() in defined
        if above != "RelationTimeTravel" and not shadowed:
            yield NamedRelation(
                parts, int(origin.startIndex().get()), int(origin.stopIndex().get()), above not in WITHOUT_ALIAS
            )
        return
    if kind == "UnresolvedWith":
        for pair in _each(plan.cteRelations()):  # each sees those before it
            yield from _walk(pair._2().child(), "", defined)
            defined |= {str(pair._1()).lower()}
        yield from _walk(plan.child(), kind, defined)
        return
    if kind == "RelationTimeTravel":
        yield from _walk(plan.relation(), kind, defined)
        return
    for part in _each(plan.children()):
        yield from _walk(part, kind, defined)
    for part in _each(plan.subqueries()):
        yield from _walk(part, "", defined)


def _each(sequence: Any) -> Iterator[Any]:
    return (sequence.apply(number) for number in range(sequence.size()))
