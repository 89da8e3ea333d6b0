"""Names of the branches and tags that audits make. All others are people's."""

from __future__ import annotations

import re
from datetime import date

BRANCH = re.compile(r"audit-(\d{4}-\d{2}-\d{2})", re.ASCII)
TAG = re.compile(r"published-([a-z][a-z0-9_]*)-(\d{4}-\d{2}-\d{2})-([1-9]\d*)", re.ASCII)  # namespace, dt, publication


def branch_date(name: str) -> date | None:
    """Date of the audit whose branch has this name; None of any other name."""
    match = BRANCH.fullmatch(name)
    return None if match is None else _date(match[1])


def tagged_date(name: str) -> date | None:
    """Date of the publication whose tag has this name; None of any other name."""
    match = TAG.fullmatch(name)
    return None if match is None else _date(match[2])


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
