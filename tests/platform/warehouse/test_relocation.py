from __future__ import annotations

import os
import shutil
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import Settings
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse.maintenance import Retention
from recsae_lib.platform.warehouse.read_point import as_published
from recsae_lib.platform.warehouse.relocation import refuse_misplaced, relocate_tables
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, COMPARISONS
from tests import catalogs
from tests.publishing import maintain
from tests.publishing import publish as publish_audit

FIRST = date(2026, 11, 1)
SCOPES: Any = dict.fromkeys(("data", "model", "audit"), "shop")
SCHEMA = "sae_version int, unit_kind string, metric string, value double"


def declare(spark: SparkSession, catalog: str, folder: Path) -> Warehouse:
    """A catalog on a folder, and its tables as the audit of the first date sees them."""
    catalogs.declare(spark, catalog, type="hadoop", warehouse=str(folder / "warehouse"), cache_enabled="false")
    return Warehouse(spark, catalog, SCOPES, FIRST)


def publish(warehouse: Warehouse, value: float) -> None:
    warehouse.replace(AUDIT_METRICS, warehouse.spark.createDataFrame([(1, "sae", "fvu", value)], SCHEMA))
    publish_audit(warehouse)


def write_nights(warehouse: Warehouse) -> None:
    for night, value in enumerate((0.25, 0.5)):
        publish(warehouse.at(FIRST + timedelta(days=night)), value)
    row = ("films", "sasrec", "last", "sae", "fvu", 0.5)
    warehouse.merge(COMPARISONS, warehouse.spark.createDataFrame([row], COMPARISONS.row_schema))


def values(warehouse: Warehouse) -> list[float]:
    return [row["value"] for row in as_published(warehouse).read(warehouse, AUDIT_METRICS).orderBy("dt").collect()]


def files_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_copied_warehouse_is_refused_then_its_own(spark: SparkSession, tmp_path: Path) -> None:
    original = declare(spark, "original", tmp_path / "original")
    write_nights(original)
    refuse_misplaced(spark, "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy of it")
    copy = declare(spark, "copied", tmp_path / "copy of it")
    with pytest.raises(InputError, match=r"4 tables in .* were copied or moved there.*recsae relocate"):
        refuse_misplaced(spark, "copied")
    settings = Settings.model_validate({"namespace": "shop", "catalog": "copied"})
    with pytest.raises(InputError, match="recsae relocate"):  # as every job and command begins
        JobContext("encode_latents", settings, FIRST).warehouse  # noqa: B018
    before = files_of(tmp_path / "original")
    place = tmp_path / "original" / "warehouse" / "shop" / "audit_metrics"
    said = list(relocate_tables(spark, "copied"))
    assert said[1] == f"copied.shop.audit_metrics: was at {place}, is at {str(place).replace('original', 'copy of it')}"
    assert len(said) == 4
    refuse_misplaced(spark, "copied")
    assert list(relocate_tables(spark, "copied")) == []
    publish(copy.at(FIRST + timedelta(days=2)), 0.75)
    assert values(original) == [0.25, 0.5]
    assert files_of(tmp_path / "original") == before
    shutil.rmtree(tmp_path / "original")
    # Tags, dropped and rewritten files: all is the copy's own.
    assert values(copy) == [0.25, 0.5, 0.75]
    assert [row["value"] for row in as_published(copy, FIRST).read(copy, AUDIT_METRICS).collect()] == [0.25]
    assert copy.read_all(COMPARISONS).count() == 1
    soon = datetime.now(timezone.utc) + timedelta(seconds=2)
    maintain(copy, AUDIT_METRICS, Retention(FIRST + timedelta(days=1), soon))
    assert values(copy) == [0.5, 0.75]
    content = [path.read_bytes() for path in (tmp_path / "copy of it").rglob("*.metadata.json")]
    assert content
    assert not [text for text in content if os.fsencode(tmp_path / "original") in text]


def test_an_interrupted_relocation_goes_on(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = declare(spark, "left", tmp_path / "left")
    write_nights(warehouse)
    (tmp_path / "left").rename(tmp_path / "arrived")
    moved = declare(spark, "arrived", tmp_path / "arrived")
    # The last file of metadata is the last that is written: as if a kill had come before.
    folder = tmp_path / "arrived" / "warehouse" / "shop" / "audit_metrics" / "metadata"
    newest = max(folder.glob("v*.metadata.json"), key=lambda path: int(path.name[1:].partition(".")[0]))
    as_it_was = newest.read_bytes()
    assert len(list(relocate_tables(spark, "arrived"))) == 4
    newest.write_bytes(as_it_was)
    with pytest.raises(InputError, match=r"1 tables in"):
        refuse_misplaced(spark, "arrived")
    assert len(list(relocate_tables(spark, "arrived"))) == 1
    assert values(moved) == [0.25, 0.5]


def test_what_was_written_to_the_original_is_brought(spark: SparkSession, tmp_path: Path) -> None:
    original = declare(spark, "lender", tmp_path / "lender")
    write_nights(original)
    shutil.copytree(tmp_path / "lender", tmp_path / "borrower")
    copy = declare(spark, "borrower", tmp_path / "borrower")
    publish(copy.at(FIRST + timedelta(days=2)), 0.75)  # a job of an earlier version in the copy
    assert len(list(relocate_tables(spark, "borrower"))) == 4
    shutil.rmtree(tmp_path / "lender")
    assert values(copy) == [0.25, 0.5, 0.75]


def test_a_table_without_its_files_stays_refused(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = declare(spark, "whole", tmp_path / "whole")
    write_nights(warehouse)
    (tmp_path / "whole").rename(tmp_path / "torn")
    torn = declare(spark, "torn", tmp_path / "torn")
    lost = next((tmp_path / "torn" / "warehouse" / "shop" / "audit_metrics" / "data").rglob("*.parquet"))
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(InputError, match=r"Files are missing of torn.shop.audit_metrics \(1, such as .*parquet"):
        list(relocate_tables(spark, "torn"))
    with pytest.raises(InputError, match=r"1 tables in"):
        refuse_misplaced(spark, "torn")
    lost.write_bytes(content)
    assert len(list(relocate_tables(spark, "torn"))) == 1
    assert values(torn) == [0.25, 0.5]
