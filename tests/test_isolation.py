from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
from pyspark.sql import SparkSession

from tests.isolation import isolation

SETTING = "spark.sql.shuffle.partitions"


def test_what_a_test_changes_is_put_back(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSAE_CHANGED", "before")
    monkeypatch.setenv("RECSAE_DELETED", "before")
    before = (dict(os.environ), torch.get_num_threads(), spark.conf.get(SETTING), logging.getLogger("recsae").level)
    drawn = []
    for _ in range(2):
        with isolation():
            drawn.append(torch.rand(1))
            os.environ.update(RECSAE_CHANGED="after", RECSAE_ADDED="after")
            del os.environ["RECSAE_DELETED"]
            torch.set_num_threads(before[1] + 1)
            logging.getLogger("recsae").setLevel(logging.CRITICAL)
            spark.conf.set(SETTING, "77")
            spark.conf.set("spark.sql.catalog.added", "org.apache.iceberg.spark.SparkCatalog")
            spark.conf.set("spark.sql.catalog.added.type", "hadoop")
            spark.conf.set("spark.sql.catalog.added.warehouse", str(tmp_path))
            spark.sql("CREATE NAMESPACE IF NOT EXISTS added.shop")
            spark.sql("USE added.shop")
            spark.range(1).createOrReplaceTempView("added")
    after = (dict(os.environ), torch.get_num_threads(), spark.conf.get(SETTING), logging.getLogger("recsae").level)
    assert after == before
    assert drawn[0] == drawn[1]
    assert spark.conf.get("spark.sql.catalog.added.type", None) is None
    assert spark.catalog.currentCatalog() == "spark_catalog"
    assert not [table.name for table in spark.catalog.listTables() if table.isTemporary]
