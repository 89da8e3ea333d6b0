from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import RepresentationSettings
from recsae_lib.errors import InputError
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.representations.own import OwnRepresentations, write_own_representations

DT = date(2026, 11, 20)
GOOD = [("a", [1.0, 2.0]), ("b", [3.0, 4.0]), ("c", [5.0, 6.0])]
BROKEN = [("d", [1.0, float("nan")]), ("e", None)]


def write(
    spark: SparkSession,
    folder: Path,
    rows: list[tuple[str, list[float] | None]],
    model_dimension: int = 0,
    sites: tuple[str, ...] = ("last",),
) -> OwnRepresentations:
    users, x = zip(*rows, strict=True)
    table = pa.table({"user_id": pa.array(users), "representation": pa.array(x, pa.list_(pa.float32()))})
    pq.write_table(table, folder / "x.parquet")
    last, training = (RepresentationSet(str(folder), "shop", 1, "last", kind, DT) for kind in ("last", "training"))
    settings = RepresentationSettings(sites=sites)
    return write_own_representations(spark, str(folder / "x.parquet"), model_dimension, last, training, settings)


def test_usable_rows_are_both_sets_and_others_have_a_reason(spark: SparkSession, tmp_path: Path) -> None:
    own = write(spark, tmp_path, GOOD + BROKEN, model_dimension=2)
    assert (own.written.rows, own.dimension, own.refused) == (3, 2, 2)
    sets = [RepresentationSet(str(tmp_path), "shop", 1, "last", kind, DT) for kind in ("last", "training")]
    for written in sets:
        found = spark.read.parquet(written.require()).select("user_id", "representation").collect()
        assert sorted((row["user_id"], row["representation"]) for row in found) == GOOD
    refused = spark.read.parquet(sets[0].rejected("representations")).select("id", "reason").collect()
    assert sorted(map(tuple, refused)) == [
        ("d", "representation holds a null, NaN or infinity"),
        ("e", "representation is null"),
    ]


@pytest.mark.parametrize(
    ("rows", "model_dimension", "sites", "part"),
    [
        (BROKEN, 0, ("last",), "has no usable representation"),
        (GOOD, 3, ("last",), "has vectors of 2 values, the item vectors have 3"),
        (GOOD, 0, ("last", "blocks.0"), "have one site, last"),
    ],
)
def test_what_cannot_be_audited_is_refused(
    spark: SparkSession, tmp_path: Path, rows: list, model_dimension: int, sites: tuple[str, ...], part: str
) -> None:
    with pytest.raises(InputError, match=part):
        write(spark, tmp_path, rows, model_dimension, sites)
    assert not RepresentationSet(str(tmp_path), "shop", 1, "last", "last", DT).exists()
