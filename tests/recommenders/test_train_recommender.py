from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_jobs import train_recommender
from recsae_lib.config import Settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.store import load_recommender
from tests.workspace import write_mlflow_database


def context_of(folder: Path, spark: SparkSession, **recommender: object) -> JobContext:
    settings = Settings.model_validate(
        {
            "namespace": "training",
            "paths": {
                "var": str(folder),
                "bulk": str(folder / "bulk"),
                "tracking_uri": f"sqlite:///{folder}/mlflow.db",
                "artifacts": str(folder / "artifacts"),
            },
            "recommender": {
                "dimension": 8,
                "sasrec": {"history_length": 4, "epochs": 3, "batch_size": 16},
                "bpr_mf": {"epochs": 2},
                "lightgcn": {"epochs": 2},
                "timirec": {"epochs": 1, "history_length": 4, "batch_size": 16},
                **recommender,
            },
        }
    )
    if not (folder / "mlflow.db").exists():
        write_mlflow_database(folder / "mlflow.db")
    context = JobContext("train_recommender", settings, date(2026, 11, 20))
    context.shared.spark = spark
    return context


def write_interactions(context: JobContext) -> None:
    rows = [
        (f"u{user:02d}", f"i{(user + step) % 10}", 1.0, datetime.fromtimestamp(1000 * user + step, tz=timezone.utc), 0)
        for user in range(30)
        for step in range(6)
    ]
    context.warehouse.replace(tables.INTERACTIONS, context.spark.createDataFrame(rows, tables.INTERACTIONS.schema))


@pytest.mark.integration
def test_items_without_a_row_of_the_module_are_named_and_missed(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbering = {"item_id": [f"i{item}" for item in range(6)], "item_index": pa.array([4, 5, 6, 1, 2, 3], pa.int64())}
    pq.write_table(pa.table(numbering), tmp_path / "rows.parquet")
    module = {
        "factory": "tests.foreign_ranker:build_ranker",
        "arguments": {"rows": 7},
        "items": str(tmp_path / "rows.parquet"),
        "history_length": 6,
        "item_embeddings": "items.weight",
    }
    context = context_of(tmp_path, spark, kind="module", module=module)
    write_interactions(context)
    catalogue = [(f"i{item}", "", "", [], []) for item in range(10)]
    context.warehouse.replace(tables.ITEMS, spark.createDataFrame(catalogue, tables.ITEMS.schema))
    train_recommender.run(context)
    assert "4 of 10 ingested items, 40.0 % of the interactions, have no row in" in caplog.text
    metrics = context.registry.metrics("recommender-training", context.model_version)
    assert metrics["popularity_catalogue_coverage_at_10"] == 1.0  # of all ten items
    assert metrics["test_catalogue_coverage_at_10"] == 0.6
    assert load_recommender(context.registry.fetch("recommender-training", 1), context.settings.recommender.factory)


@pytest.mark.integration
def test_training_twice_gives_one_version_and_each_kind_its_own(spark: SparkSession, tmp_path: Path) -> None:
    first = context_of(tmp_path, spark)
    write_interactions(first)
    versions, names = [], "recommender-training"
    for kind in ("sasrec", "sasrec", "bpr_mf", "sasrec", "lightgcn", "timirec"):
        context = context_of(tmp_path, spark, kind=kind)
        train_recommender.run(context)
        versions.append(context.model_version)  # the alias candidate
    assert versions == [1, 1, 2, 1, 3, 4]
    registry = first.registry
    metrics = registry.metrics(names, 1)
    assert {name.split("_")[0] for name in metrics} == {"loss", "dev", "test", "popularity", "item", "best"}
    assert {"test_hr_at_10", "test_ndcg_at_50", "popularity_ndcg_at_5", "dev_ndcg_at_10"} <= set(metrics)
    assert {name: registry.tags(names, 2)[name] for name in ("dt", "kind", "dimension")} == {
        "dt": "2026-11-20",
        "kind": "bpr_mf",
        "dimension": "8",
    }
    sasrec, bpr_mf = (load_recommender(registry.fetch(names, version)) for version in (1, 2))
    assert (sasrec.kind, sasrec.item_count, bpr_mf.kind, bpr_mf.item_count) == ("sasrec", 10, "bpr_mf", 10)
    assert not torch.equal(sasrec.item_embeddings(), bpr_mf.item_embeddings())
    assert not (registry.fetch(names, 1) / "users.parquet").exists()
