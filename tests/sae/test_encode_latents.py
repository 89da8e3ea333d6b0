"""Encoding in Spark, as the job encode_latents does between the written representations and its table."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import LATENT_ACTIVATIONS
from recsae_lib.representations.parts import parts_of, read_part
from recsae_lib.sae.encoding import encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae

ROWS, DIMENSION = 300, 6
VERSIONS = SimpleNamespace(model_version=1, sae_version=3)
X = np.random.default_rng(2).standard_normal((ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def sae(tmp_path: Path) -> SparseAutoencoder:
    sae = SparseAutoencoder.initialise(torch.from_numpy(X), 40, 4, seed=1)
    with torch.no_grad():
        sae.b_enc -= 1.2  # some users have no active latent
    save_sae(sae, tmp_path / "sae", {})
    return sae


def encode(spark: SparkSession, folder: Path, users: list[str | None], x: np.ndarray = X) -> tuple[Warehouse, int]:
    lists = pa.array(x.tolist(), type=pa.list_(pa.float32()))
    table = pa.table({"user_id": pa.array(users, pa.string()), "representation": lists})
    (folder / "rows").mkdir()
    for number in range(3):
        pq.write_table(table.slice(number * 100, 100), folder / "rows" / f"part-{number}.parquet")
    name = f"encode_{abs(hash(folder))}"
    warehouse = Warehouse(spark, "recsae", {"data": name, "model": name, "audit": name}, date(2026, 11, 23), VERSIONS)
    encoded = encode_batches(ship_folder(spark, folder / "sae"), x[:, :DIMENSION])
    parts = parts_of(str(folder / "rows"), 1)
    return warehouse, warehouse.replace_by_files(LATENT_ACTIVATIONS, parts, lambda part: encoded(read_part(part)))


def test_table_holds_what_the_model_computes(spark: SparkSession, sae: SparseAutoencoder, tmp_path: Path) -> None:
    users = [f"u{row:03d}" for row in range(ROWS)]
    warehouse, written = encode(spark, tmp_path, users)
    assert written == ROWS
    rows = sorted(warehouse.read(LATENT_ACTIVATIONS).collect(), key=lambda row: row.user_id)
    assert [row.user_id for row in rows] == users
    activations, latent_ids = (values.numpy() for values in sae.encode(torch.from_numpy(X)))
    for row, values, ids in zip(rows, activations, latent_ids, strict=True):
        assert (row.dt, row.sae_version) == (date(2026, 11, 23), 3)
        assert row.latent_ids == ids[values > 0].tolist()
        np.testing.assert_allclose(row.activations, values[values > 0], rtol=1e-5)
        assert 0 < row.fvu < 2
        assert 0 < row.distance < 1
    assert {0, 4} <= {len(row.latent_ids) for row in rows}


def test_what_cannot_be_encoded_stops_the_write(spark: SparkSession, sae: SparseAutoencoder, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="InputError: Column user_id of table latent_activations would hold a null"):
        encode(spark, tmp_path, [None, *["u"] * (ROWS - 1)])


def test_vectors_of_another_length_stop_the_write(spark: SparkSession, sae: SparseAutoencoder, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="InputError: The representations cannot be encoded: they hold 5 to 5 numbers"):
        encode(spark, tmp_path, ["u"] * ROWS, X[:, :5])
