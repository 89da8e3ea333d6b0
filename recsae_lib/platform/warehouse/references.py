"""Names of the branches and tags that audits make. All others are people's."""

from __future__ import annotations

import re
from datetime import date

BRANCH = re.compile(r"audit-(\d{4}-\d{2}-\d{2})", re.ASCII)
TAG = re.compile(r"published-([a-z][a-z0-9_]*)-(\d{4}-\d{2}-\d{2})-([1-9]\d*)", re.ASCII)  # namespace, dt, publication

EARLIER_TAG = re.compile(r"published-(\d{4}-\d{2}-\d{2})", re.ASCII)  # of release 0.2: dt


def publication_tag(namespace: str, dt: date, number: int) -> str:
    """Tag of the snapshots of a publication.

    Parameters
    ----------
    namespace : of the table ``audits`` that lists it; tables of data are shared by those of several namespaces.
    """
    return f"published-{namespace}-{dt.isoformat()}-{number}"


def branch_date(name: str) -> date | None:
    """Date of the audit whose branch has this name; None of any other name."""
    match = BRANCH.fullmatch(name)
    return None if match is None else _date(match[1])


def tagged_date(name: str) -> date | None:
    """Date of the publication whose tag has this name; None of any other name."""
    match = TAG.fullmatch(name)
    return None if match is None else _date(match[2])


def tagged_publication(name: str) -> tuple[str, date, int] | None:
    """Namespace, date and number of the publication whose tag has this name; None of any other name."""
    match, dt = TAG.fullmatch(name), tagged_date(name)
    return None if match is None or dt is None else (match[1], dt, int(match[3]))


def earlier_tagged_date(name: str) -> date | None:
    """Date of the audit whose tag of release 0.2 has this name; None of any other name."""
    match = EARLIER_TAG.fullmatch(name)
    return None if match is None else _date(match[1])


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
