"""Read raw interactions and items into the tables interactions, items and rejects.

    spark-submit --properties-file conf/spark/local.conf jobs/ingest_dataset.py --dt 2026-11-20
    recsae run ingest_dataset --dt 2026-11-20

Rows that cannot be read land in rejects with file, line where known, and reason; too many of them end the job once
they are written. What dataset.filters leave out is counted in the log, which also shows what was understood: ids,
times, items, features. A catalogue that does not join is refused (checks.fail_described_share). A second run replaces
the first.
"""

from __future__ import annotations

from pathlib import Path

from recsae_lib.datasets.joining import require_joined
from recsae_lib.datasets.reading import read_dataset
from recsae_lib.datasets.refusals import require_few_rejects
from recsae_lib.datasets.understood import understood
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
    if dataset.interactions.isEmpty():
        raise InputError(
            "The raw data holds no valid interaction", "Check dataset.format, and dataset.columns for your own tables"
        )
    for line in understood(dataset.interactions, dataset.items):
        log.info("ingest_dataset: %s", line)
    require_joined(dataset.interactions, dataset.listed, context.settings.checks)
    warehouse = context.warehouse
    written = [
        (tables.INTERACTIONS, dataset.interactions),
        (tables.ITEMS, dataset.items),
        (tables.REJECTS, dataset.rejects),
    ]
    counts = side_by_side(lambda of_table: warehouse.replace(*of_table), written)
    named = [f"{count:,} {table.name}" for (table, _), count in zip(written, counts, strict=True)]
    log.info("ingest_dataset: %s", ", ".join(named))
    dataset.release()
    require_few_rejects(warehouse.read(tables.REJECTS), sum(counts[:-1]), context.settings.checks)


if __name__ == "__main__":
    main(__file__)
