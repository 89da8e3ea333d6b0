"""Which audits have been published: the rows of the table ``audits``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse


@dataclass(frozen=True)
class PublishedAudit:
    """An audit that people see on main: its date, and the versions of recommender and SAE."""

    dt: date
    model_version: int
    sae_version: int


def published_audits(warehouse: Warehouse) -> list[PublishedAudit]:
    """Return all published audits of the namespace, newest first: a row a night."""
    rows = warehouse.read_all(tables.AUDITS).where("status = 'published'")
    found = rows.select("dt", "model_version", "sae_version").collect()
    return sorted((PublishedAudit(*row) for row in found), key=lambda audit: audit.dt, reverse=True)
