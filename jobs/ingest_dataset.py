"""Read raw interactions and items into the tables interactions, items and rejects.

    spark-submit --properties-file conf/spark/local.conf jobs/ingest_dataset.py --dt 2026-11-20
    recsae run ingest_dataset --dt 2026-11-20

Rows that cannot be read land in rejects with file, line where known, and reason, also where the data is refused; too
many of them end the job once all is written. So do rows whose id holds control characters or invisible ones, which
are taken out of titles, texts and features. What dataset.filters leave out is counted in the log, which also shows what
was understood: ids, times, items, features, derived features, and how many items hid such characters. A catalogue that
does not join is refused (checks.fail_described_share). A second run replaces the first.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame

from recsae_lib.datasets.derived.features import with_derived_features
from recsae_lib.datasets.joining import require_joined
from recsae_lib.datasets.reading import Dataset, read_dataset
from recsae_lib.datasets.refusals import require_few_rejects, require_interactions
from recsae_lib.datasets.understood import understood
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.migration import require_migrated
from recsae_lib.platform.warehouse.publishing import complete_publications
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.training_counts import training_counts


def run(context: JobContext) -> None:
    """Read the raw data, replace the rejects, refuse what cannot be audited, and replace the two other tables."""
    require_migrated(context.warehouses)  # before the night has cost anything
    for warehouse in context.warehouses:
        complete_publications(warehouse)
    dataset = read_dataset(context.spark, context.settings.dataset, Path(context.settings.paths.var) / "cache")
    warehouse = context.warehouse
    rejected = warehouse.replace(tables.REJECTS, dataset.rejects)  # first: where all is refused, they say why
    require_interactions(dataset.interactions, dataset.rejects)
    items = derived_items(context, dataset)
    for line in understood(dataset.interactions, items, dataset.hiding):
        log.info("ingest_dataset: %s", line)
    require_joined(dataset.interactions, dataset.listed, dataset.rejects, context.settings.checks)
    written = [(tables.INTERACTIONS, dataset.interactions), (tables.ITEMS, items)]
    counts = side_by_side(lambda of_table: warehouse.replace(*of_table), written)
    named = [f"{count:,} {table.name}" for (table, _), count in zip(written, counts, strict=True)]
    log.info("ingest_dataset: %s, %s rejects", ", ".join(named), f"{rejected:,}")
    items.unpersist()
    dataset.release()
    require_few_rejects(warehouse.read(tables.REJECTS), sum(counts), context.settings.checks)


def derived_items(context: JobContext, dataset: Dataset) -> DataFrame:
    """The items with their derived features; popularity is that in the training part of a recommender of the night."""
    derived = context.settings.dataset.derived
    held_out = context.settings.recommender.split
    split = Split.resolve(held_out, dataset.interactions) if derived.popularity_tier else Split()
    counts = training_counts(dataset.interactions, split)
    return with_derived_features(dataset.items, counts, derived, context.dt.year)


if __name__ == "__main__":
    main(__file__)
