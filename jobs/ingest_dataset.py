"""Read raw interactions and items into the tables interactions, items and rejects.

    spark-submit --properties-file conf/spark/local.conf jobs/ingest_dataset.py --dt 2026-11-20
    recsae run ingest_dataset --dt 2026-11-20

Rows that cannot be read land in rejects with file, line where known, and reason, also where the data is refused; too
many of them end the job once all is written. What dataset.filters leave out is counted in the log, which also shows
what was understood: ids, times, items, features. A catalogue that does not join is refused
(checks.fail_described_share). A second run replaces the first.
"""

from __future__ import annotations

from pathlib import Path

from recsae_lib.datasets.joining import require_joined
from recsae_lib.datasets.reading import read_dataset
from recsae_lib.datasets.refusals import require_few_rejects, require_interactions
from recsae_lib.datasets.understood import understood
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.migration import require_migrated
from recsae_lib.platform.warehouse.publishing import complete_publications


def run(context: JobContext) -> None:
    """Read the raw data, replace the rejects, refuse what cannot be audited, and replace the two other tables."""
    require_migrated(context.warehouses)  # before the night has cost anything
    for warehouse in context.warehouses:
        complete_publications(warehouse)
    dataset = read_dataset(context.spark, context.settings.dataset, Path(context.settings.paths.var) / "cache")
    warehouse = context.warehouse
    rejected = warehouse.replace(tables.REJECTS, dataset.rejects)  # first: where all is refused, they say why
    require_interactions(dataset.interactions, dataset.rejects)
    for line in understood(dataset.interactions, dataset.items):
        log.info("ingest_dataset: %s", line)
    require_joined(dataset.interactions, dataset.listed, dataset.rejects, context.settings.checks)
    written = [(tables.INTERACTIONS, dataset.interactions), (tables.ITEMS, dataset.items)]
    counts = side_by_side(lambda of_table: warehouse.replace(*of_table), written)
    named = [f"{count:,} {table.name}" for (table, _), count in zip(written, counts, strict=True)]
    log.info("ingest_dataset: %s, %s rejects", ", ".join(named), f"{rejected:,}")
    dataset.release()
    require_few_rejects(warehouse.read(tables.REJECTS), sum(counts), context.settings.checks)


if __name__ == "__main__":
    main(__file__)
