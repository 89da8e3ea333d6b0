"""Small audits of a few tables, published without a job."""

from __future__ import annotations

from datetime import date, datetime, timezone

from recsae_lib.platform.warehouse.publications import Publication
from recsae_lib.platform.warehouse.publishing import Origin, publish_tables
from recsae_lib.platform.warehouse.store import Warehouse

STARTED = datetime(2026, 11, 20, 1, 30, tzinfo=timezone.utc)


def origin(sae_version: int = 1) -> Origin:
    """Where an audit comes from that was never run."""
    return Origin(1, sae_version, STARTED, "digest", "code")


def publish(warehouse: Warehouse, sae_version: int = 1) -> Publication:
    """Publish what is on the branches of the audit."""
    return publish_tables(warehouse, origin(sae_version))


def publication(dt: date, sae_version: int, model_version: int = 1, number: int = 1) -> Publication:
    """A row of ``audits`` that is in no warehouse."""
    return Publication(number, dt, model_version, sae_version, STARTED, {})
