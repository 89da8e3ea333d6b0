"""What readers must see of audits that were published one after the other: the rule in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Audit:
    """A publication. Each audit writes its `version` into its tables; `data` stands in those that models share."""

    number: int
    dt: date
    version: int
    data: int
    kept: bool = True


@dataclass(frozen=True)
class Seen:
    """Contents: of tables with a date the dates with what they hold, of the others what they hold."""

    own: frozenset[tuple[date, int]] = frozenset()
    shared: frozenset[tuple[date, int]] = frozenset()
    undated: frozenset[int] = frozenset()


def last_of_each(audits: Iterable[Audit]) -> dict[date, Audit]:
    return {audit.dt: audit for audit in audits if audit.kept}


def seen(last: dict[date, Audit]) -> Seen:
    own, shared = ((dt, audit.version) for dt, audit in last.items()), ((dt, a.data) for dt, a in last.items())
    return Seen(frozenset(own), frozenset(shared), frozenset({last[max(last)].data} if last else ()))


def now(audits: Sequence[Audit]) -> Seen:
    return seen(last_of_each(audits))


def as_of(audits: Sequence[Audit], dt: date) -> Seen:
    last = {other: audit for other, audit in last_of_each(audits).items() if other <= dt}
    number = last[max(last)].number if last else 0
    return seen(last_of_each(audit for audit in audits if audit.number <= number and audit.dt <= dt))


def of_date(audits: Sequence[Audit], dt: date) -> Seen:
    return seen({other: audit for other, audit in last_of_each(audits).items() if other == dt})
