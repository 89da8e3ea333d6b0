"""What a run reads, as MLflow's dataset inputs: names, places and digests, without a look at the data."""

from __future__ import annotations

import json

from mlflow.entities import Dataset

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse.tables import Table
from recsae_lib.redaction import redacted

DIGEST_LENGTH = 36  # MLflow's limit


def table_input(context: JobContext, table: Table) -> Dataset:
    """Describe a table as the job reads it; its digest is the Iceberg snapshot."""
    snapshot = context.warehouse.snapshot_id(table)
    name = context.warehouse.full_name(table)
    source = {"sql": f"SELECT * FROM {name} VERSION AS OF {snapshot}"}
    return Dataset(table.name, str(snapshot), "spark", json.dumps(source))


def folder_input(name: str, folder: str, digest: str) -> Dataset:
    """Describe a folder or address of Parquet files whose digest is known."""
    return Dataset(name, digest[:DIGEST_LENGTH], "spark", json.dumps({"path": redacted(folder)}))
