"""The rows of the table ``audits``: which audits have been published, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone

from recsae_lib.errors import InputError
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


def write_audit(
    warehouse: Warehouse,
    model_version: int,
    sae_version: int,
    status: str,
    started_at: datetime,
    config_digest: str,
    code_version: str,
) -> None:
    """Write the row of an audit that ends now, straight to main: the commit point of its publication.

    Parameters
    ----------
    status : published or failed.
    started_at : when its first job started.
    config_digest, code_version : of its jobs (`RunRecord`).
    """
    row = model_version, sae_version, status, started_at, datetime.now(timezone.utc), config_digest, code_version
    rows = warehouse.spark.createDataFrame([row], tables.AUDITS.versioned_row_schema)
    warehouse.replace_published(tables.AUDITS, rows)


def newest_published(warehouse: Warehouse) -> date:
    """Date of the newest published audit.

    Raises
    ------
    InputError : nothing has been published yet; refused audits are named.
    """
    published = published_audits(warehouse)
    if published:
        return published[0].dt
    cause = f"No audit of {warehouse.namespaces['audit']} has been published"
    refused = warehouse.read_all(tables.AUDITS).select("dt").orderBy("dt").collect()  # a row a night
    if not refused:
        raise InputError(cause, "Run `recsae audit` first")
    branch = warehouse.at(refused[-1]["dt"]).branch
    raise InputError(
        f"{cause}; refused by their checks: {', '.join(str(row['dt']) for row in refused[-5:])}",
        f"`recsae sql \"SELECT * FROM concepts VERSION AS OF '{branch}'\"` shows what such an audit found",
    )
