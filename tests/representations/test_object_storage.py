"""Representations on s3://, through a server of the same protocol on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsae_lib.errors import InputError
from recsae_lib.representations.loader import RepresentationLoader
from tests.object_storage import object_storage

ROWS, DIMENSION, FILES = 600, 4, 6
SET = "representations/model=m/version=1/site=last/rows=training/dt=2026-11-20"
X = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    """A set of 6 files in 2 row groups each."""
    with object_storage("bulk") as bucket:
        storage = fsspec.filesystem("s3")
        for number, rows in enumerate(np.split(X, FILES)):
            table = pa.table({"representation": pa.array(rows.tolist(), type=pa.list_(pa.float32()))})
            with storage.open(f"{bucket}/{SET}/part-{number}.parquet", "wb") as file:
                pq.write_table(table, file, row_group_size=len(rows) // 2)
        yield f"{bucket}/{SET}"


def rows_of(loaders: list[RepresentationLoader], epoch: int) -> list[list[float]]:
    return torch.cat([batch for loader in loaders for batch in loader.iterate(epoch)]).tolist()


@pytest.mark.parametrize("budget_mib", [0, 1])
@pytest.mark.parametrize(("shards", "workers"), [(1, 1), (1, 4), (3, 2)])
def test_set_is_read_in_the_order_of_the_same_seed(folder: str, budget_mib: int, shards: int, workers: int) -> None:
    loaders = [
        RepresentationLoader(folder, 64, 5, workers, shard=(rank, shards), budget_mib=budget_mib)
        for rank in range(shards)
    ]
    assert loaders[0].fits is bool(budget_mib)
    assert (sum(loader.rows for loader in loaders), loaders[0].total_rows) == (ROWS, ROWS)
    first, second = rows_of(loaders, 0), rows_of(loaders, 1)
    assert sorted(first) == sorted(second) == sorted(X.tolist())
    assert first != second
    again = [RepresentationLoader(folder, 64, 5, shard=(rank, shards), budget_mib=budget_mib) for rank in range(shards)]
    assert rows_of(again, 1) == second


def test_address_of_spark_is_taken_too(folder: str) -> None:
    assert RepresentationLoader(folder.replace("s3://", "s3a://"), 64, seed=1).digest() == (
        RepresentationLoader(folder, 64, seed=2).digest()
    )


def test_missing_folder_is_refused(folder: str) -> None:
    with pytest.raises(InputError, match="no rows"):
        RepresentationLoader(f"{folder}/nowhere", 64, seed=1)
