from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.publications import Publication, newest_published, published_audits, write_audit
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDITS

STARTED = datetime(2026, 11, 20, 1, 30, tzinfo=timezone.utc)
NAME = "published"


def warehouse_of(spark: SparkSession, day: int) -> Warehouse:
    return Warehouse(spark, "recsae", {"data": NAME, "model": NAME, "audit": NAME}, date(2026, 11, day))


def test_published_audits_are_listed_newest_first(spark: SparkSession) -> None:
    assert published_audits(warehouse_of(spark, 20)) == []
    with pytest.raises(InputError, match="Run `recsae audit` first"):
        newest_published(warehouse_of(spark, 20))
    write_audit(warehouse_of(spark, 20), 3, 4, "failed", STARTED, "digest", "0.1")
    with pytest.raises(InputError, match=r"refused by their checks: 2026-11-20\..*VERSION AS OF 'audit-2026-11-20'"):
        newest_published(warehouse_of(spark, 20))
    for day, sae_version, status in ((20, 4, "failed"), (20, 5, "published"), (22, 7, "failed"), (21, 6, "published")):
        write_audit(warehouse_of(spark, day), 3, sae_version, status, STARTED, "digest", "0.1")
    assert published_audits(warehouse_of(spark, 20)) == [
        Publication(date(2026, 11, 21), 3, 6),
        Publication(date(2026, 11, 20), 3, 5),
    ]
    (row,) = warehouse_of(spark, 22).read_published(AUDITS).collect()
    assert (row["model_version"], row["sae_version"], row["status"]) == (3, 7, "failed")
    assert row["started_at"].astimezone(timezone.utc) == STARTED < row["finished_at"].astimezone(timezone.utc)
    assert (row["config_digest"], row["code_version"]) == ("digest", "0.1")
