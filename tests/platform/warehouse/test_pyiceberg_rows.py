"""Rows of published audits without Java: the same as by Spark, and none where Spark has to say what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse.publications import last_of_each_date, publications
from recsae_lib.platform.warehouse.pyiceberg_rows import PyIcebergRows, open_rows
from recsae_lib.platform.warehouse.rows import Among, Condition, Holding, UpTo
from recsae_lib.platform.warehouse.spark_rows import SparkRows
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import ITEMS, LATENT_EFFECTS, LATENT_ITEMS
from tests.catalogs import declare
from tests.publishing import publish

SCOPES: Any = dict.fromkeys(("data", "model", "audit"), "shop")
WANTED = dict.fromkeys(("items", "latent_items", "latent_effects"), "shop")
TITLES = ("Alien", "ALIENS", "İstanbul", "ΟΔΥΣΣΕΥΣ", "Straße", "100 %_", "a'); --")


def night(spark: SparkSession, catalog: str, day: int) -> Warehouse:
    return Warehouse(spark, catalog, SCOPES, date(2026, 11, day))


def write(warehouse: Warehouse, latents: Sequence[int], titles: Sequence[str] = TITLES) -> None:
    items = [(f"i{place}", title, "", ["f"], None) for place, title in enumerate(titles)]
    warehouse.replace(ITEMS, warehouse.spark.createDataFrame(items, ITEMS.schema))
    links = [(1, latent, f"i{rank}", 0.5, 3, rank) for latent in latents for rank in (1, 2, 3)]
    warehouse.replace(LATENT_ITEMS, warehouse.spark.createDataFrame(links, LATENT_ITEMS.versioned_row_schema))
    none = warehouse.spark.createDataFrame([], LATENT_EFFECTS.versioned_row_schema)
    warehouse.replace(LATENT_EFFECTS, none)


def properties(folder: Path, catalog: str, **given: object) -> Path:
    file = folder / f"{catalog}.conf"
    lines = (f"spark.sql.catalog.{catalog}.{name.replace('_', '-')}  {value}\n" for name, value in given.items())
    file.write_text("".join(lines), "utf-8")
    return file


@pytest.fixture(scope="module")
def folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a catalog lies that has two published audits and one that is not."""
    folder = tmp_path_factory.mktemp("plain")
    declare(spark, "plain", type="hadoop", warehouse=str(folder / "warehouse"), cache_enabled="false")
    for day, latents, titles in ((20, (7,), TITLES[:2]), (21, (7, 8), TITLES), (22, (9,), TITLES)):
        write(night(spark, "plain", day), latents, titles)
        if day < 22:
            publish(night(spark, "plain", day), sae_version=day)
    return folder


def opened(folder: Path, dt: date | None = None, warehouse: str = "warehouse") -> PyIcebergRows | None:
    return open_rows(
        properties(folder, "plain", type="hadoop", warehouse=folder / warehouse), "plain", WANTED, "shop", dt
    )


def test_the_newest_audit_or_that_of_a_date_is_read(folder: Path) -> None:
    newest, first = opened(folder), opened(folder, date(2026, 11, 20))
    assert newest is not None
    assert first is not None
    assert (newest.dt, newest.sae_version, first.dt, first.sae_version) == (date(2026, 11, 21), 21, first.dt, 20)
    latents = [
        sorted({row["latent_id"] for row in rows.read("latent_items", ["latent_id"])}) for rows in (newest, first)
    ]
    assert latents == [[7, 8], [7]]
    assert [len(rows.read("items", ["title"])) for rows in (newest, first)] == [len(TITLES), 2]
    assert opened(folder, date(2026, 11, 22)) is None  # not published: Spark says where it is


@pytest.mark.parametrize(
    ("table", "columns", "conditions"),
    [
        ("items", ("item_id", "title", "features", "derived_features"), ()),
        ("items", ("item_id",), (Among("item_id", ("i0", "i3", "x' OR 1=1")),)),
        ("items", ("item_id",), (Among("item_id", ()),)),
        *(("items", ("title",), (Holding("title", text),)) for text in ("lien", "İ", "i̇", "σευς", "ß", "%_", "');")),
        ("latent_items", ("latent_id", "rank", "weight"), (UpTo("rank", 2), Among("latent_id", (8, 9)))),
        ("latent_items", ("users",), (Holding("item_id", "I1"), UpTo("rank", 2))),
        ("latent_effects", ("latent_id",), (Among("kind", ("item",)),)),
    ],
)
def test_both_readers_give_the_same_rows(
    spark: SparkSession, folder: Path, table: str, columns: Sequence[str], conditions: Sequence[Condition]
) -> None:
    warehouse, quick = night(spark, "plain", 21), opened(folder)
    assert quick is not None
    slow = SparkRows(warehouse, last_of_each_date(publications(warehouse))[warehouse.dt])
    found = sorted(quick.read(table, columns, *conditions), key=repr)
    assert found == sorted(slow.read(table, columns, *conditions), key=repr)
    assert all(list(row) == list(columns) for row in found)
    if conditions and isinstance(conditions[0], Holding):
        assert found


def test_a_column_of_a_later_release_is_null(folder: Path) -> None:
    rows = opened(folder)
    assert rows is not None
    assert rows.read("items", ("item_id", "later"), Among("item_id", ("i0",))) == [{"item_id": "i0", "later": None}]


def test_a_hint_that_a_kill_left_behind_hides_nothing(folder: Path, tmp_path: Path) -> None:
    hint = folder / "warehouse" / "shop" / "audits" / "metadata" / "version-hint.text"
    written = hint.read_text("utf-8")
    try:
        hint.write_text("1", "utf-8")
        rows = opened(folder)
    finally:
        hint.write_text(written, "utf-8")
    assert rows is not None
    assert rows.dt == date(2026, 11, 21)


def test_what_it_cannot_open_is_left_to_spark(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(folder) is not None
    shutil.copytree(folder / "warehouse", folder / "copied")
    assert opened(folder, warehouse="copied") is None  # its files name the place of before
    for given in (
        {"type": "hadoop", "warehouse": "s3a://bucket/warehouse"},
        {"type": "hadoop", "warehouse": folder / "nowhere"},
        {"type": "glue", "warehouse": folder / "warehouse"},
        {"type": "rest", "uri": "http://127.0.0.1:9"},
        {"type": "jdbc", "uri": f"jdbc:sqlite:{folder}/none.db"},
        {"type": "jdbc", "uri": "jdbc:postgresql://127.0.0.1/iceberg"},
    ):
        assert open_rows(properties(tmp_path, "plain", **given), "plain", WANTED, "shop", None) is None
    assert not (folder / "none.db").exists()
    assert open_rows(tmp_path / "none.conf", "plain", WANTED, "shop", None) is None
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")  # under spark-submit the file says nothing
    assert opened(folder) is None
