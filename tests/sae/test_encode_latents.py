"""Encoding in Spark, as the job encode_latents does between the written representations and its table."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.encode_latents import ENCODED
from recsae_lib.sae.encoding import ENCODED_COLUMNS, encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.shipping import ship_folder
from recsae_lib.warehouse.schemas import conform
from recsae_lib.warehouse.store import Warehouse
from recsae_lib.warehouse.tables import LATENT_ACTIVATIONS

ROWS, DIMENSION = 300, 6
X = np.random.default_rng(2).standard_normal((ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def sae(tmp_path: Path) -> SparseAutoencoder:
    sae = SparseAutoencoder.initialise(torch.from_numpy(X), 40, 4, seed=1)
    with torch.no_grad():
        sae.b_enc -= 1.2  # some users have no active latent
    save_sae(sae, tmp_path / "sae", {})
    return sae


def encoded(spark: SparkSession, folder: Path, users: list[str | None]) -> DataFrame:
    lists = pa.array(X.tolist(), type=pa.list_(pa.float32()))
    table = pa.table({"user_id": pa.array(users, pa.string()), "representation": lists})
    pq.write_table(table, folder / "part-0.parquet", row_group_size=100)
    rows = spark.read.parquet(str(folder / "part-0.parquet"))
    encode = encode_batches(ship_folder(spark, folder / "sae"))
    return rows.mapInArrow(encode, ENCODED).withColumn("sae_version", F.lit(3))


def test_table_holds_what_the_model_computes(spark: SparkSession, sae: SparseAutoencoder, tmp_path: Path) -> None:
    scopes = {"data": "encode_latents", "model": "encode_latents", "audit": "encode_latents"}
    warehouse = Warehouse(spark, "recsae", scopes, date(2026, 11, 23))
    users = [f"u{row:03d}" for row in range(ROWS)]
    assert warehouse.replace(LATENT_ACTIVATIONS, encoded(spark, tmp_path, users)) == ROWS
    rows = sorted(warehouse.read(LATENT_ACTIVATIONS).collect(), key=lambda row: row.user_id)
    assert [row.user_id for row in rows] == users
    activations, latent_ids = (values.numpy() for values in sae.encode(torch.from_numpy(X)))
    for row, values, ids in zip(rows, activations, latent_ids, strict=True):
        assert (row.sae_version, row.latent_ids) == (3, ids[values > 0].tolist())
        np.testing.assert_allclose(row.activations, values[values > 0], rtol=1e-5)
    assert {0, 4} <= {len(row.latent_ids) for row in rows}


def test_columns_are_those_of_the_encoding_and_no_array_is_searched_for_nulls(
    spark: SparkSession, sae: SparseAutoencoder, tmp_path: Path
) -> None:
    assert ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in ENCODED) == ENCODED_COLUMNS
    rows = encoded(spark, tmp_path, ["u"] * ROWS).withColumn("dt", F.lit(date(2026, 11, 23)))

    def plan(rows: DataFrame) -> str:
        return conform(LATENT_ACTIVATIONS, rows)._jdf.queryExecution().optimizedPlan().toString()

    assert "exists(" not in plan(rows)
    assert "exists(" in plan(rows.withColumn("latent_ids", F.col("latent_ids").cast("array<int>")))


def test_null_user_stops_the_write(spark: SparkSession, sae: SparseAutoencoder, tmp_path: Path) -> None:
    scopes = {"data": "encode_null", "model": "encode_null", "audit": "encode_null"}
    rows = encoded(spark, tmp_path, [None, *["u"] * (ROWS - 1)])
    with pytest.raises(Exception, match="Column user_id of table latent_activations would hold a null"):
        Warehouse(spark, "recsae", scopes, date(2026, 11, 23)).replace(LATENT_ACTIVATIONS, rows)
