"""Read raw interactions and items into the tables interactions, items and rejects.

    spark-submit --properties-file conf/spark/local.conf jobs/ingest_dataset.py --dt 2026-11-20
    recsae run ingest_dataset --dt 2026-11-20

Rows that cannot be read land in rejects with file, line where known, and reason. What dataset.filters leave out is
counted in the log. A second run replaces the first.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import functions as F

from recsae_lib.datasets.reading import read_dataset, require_described_items
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.migration import require_migrated


def run(context: JobContext) -> None:
    """Read the raw data, refuse it where nothing can be audited, replace the three tables."""
    require_migrated(context.warehouses)  # before the night has cost anything
    dataset = read_dataset(context.spark, context.settings.dataset, Path(context.settings.paths.var) / "cache")
    require_described_items(dataset.items)
    if dataset.interactions.isEmpty():
        raise InputError(
            "The raw data holds no valid interaction", "Check dataset.format, and dataset.columns for your own tables"
        )
    warehouse = context.warehouse
    written = [
        (tables.INTERACTIONS, dataset.interactions),
        (tables.ITEMS, dataset.items),
        (tables.REJECTS, dataset.rejects),
    ]
    counts = side_by_side(lambda of_table: warehouse.replace(*of_table), written)
    named = [f"{count:,} {table.name}" for (table, _), count in zip(written, counts, strict=True)]
    log.info("ingest_dataset: %s", ", ".join(named))
    if counts[-1]:
        reasons = warehouse.read(tables.REJECTS).groupBy("reason").count().orderBy(F.desc("count"), "reason").limit(5)
        for row in reasons.collect():
            log.warning("ingest_dataset: %s rows rejected: %s", f"{row['count']:,}", row["reason"])
    dataset.release()


if __name__ == "__main__":
    main(__file__)
