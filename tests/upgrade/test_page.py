"""An audit of the release before gets a page: what it did not measure is said to be missing."""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import load_settings
from recsae_lib.config.shipped import shipped
from recsae_lib.explorer.build import build_explorer
from recsae_lib.platform.job.context import JobContext, Shared
from recsae_lib.platform.warehouse.migration import migrate_tables
from tests.upgrade.earlier_release import EarlierRelease
from tests.workspace import write_mlflow_database

pytestmark = pytest.mark.integration
FIRST = date(2026, 11, 1)


def shards_of(page: Path) -> dict[str, Any]:
    found = re.findall(r'data-shard="([^"]+)">([^<]+)<', page.read_text("utf-8"))
    return {name: json.loads(gzip.decompress(base64.b64decode(packed))) for name, packed in found}


def test_an_audit_of_the_release_before_gets_a_page(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = EarlierRelease.unpack(tmp_path / "release").warehouse(spark, "shown", FIRST)
    list(migrate_tables([warehouse]))
    store = tmp_path / "mlflow" / "mlflow.db"
    write_mlflow_database(store)
    overrides = ["namespace=shop", "catalog=shown", f"paths.var={tmp_path}", f"paths.tracking_uri=sqlite:///{store}"]
    settings = load_settings(shipped("base.yaml"), None, overrides)
    page = build_explorer(JobContext("build_explorer", settings, FIRST, shared=Shared(spark=spark)))
    shards = shards_of(page)
    manifest, overview = shards["overview"]["manifest"], shards["overview"]["overview"]
    assert (manifest["publication"], manifest["sae_version"], manifest["knob"], manifest["map"]) == (4, 2, None, None)
    assert "is not in the registry" in manifest["missing"]["map"]
    assert overview["headline"]
    (index,) = shards["index/0"]
    (cards,) = (shards[name] for name in shards if name.startswith("cards/"))
    assert list(accumulate(index["id"])) == [card["latent_id"] for card in cards] != []
    assert all("removal_effect" not in card and "items_up" not in card for card in cards)
