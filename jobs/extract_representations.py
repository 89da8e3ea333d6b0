"""Extract user representations from the recommender into Parquet: what is audited, and what the SAE learns from.

spark-submit --properties-file conf/spark/local.conf jobs/extract_representations.py --dt 2026-11-20
recsae run extract_representations --dt 2026-11-20

Beside them go the item vectors, and held-out users (rows dev and test) that measure what reconstruction keeps.
"""

from __future__ import annotations

from typing import get_args

from pyspark import StorageLevel

from recsae_lib.job import JobContext, log, main
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.representations.extract import count_unknown, extract
from recsae_lib.representations.item_embeddings import item_embeddings
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.write import write_representations
from recsae_lib.warehouse import tables


def run(context: JobContext) -> None:
    """Assemble the histories once, probe the model for each kind of rows, write each set as a whole."""
    settings = context.settings.representations
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    interactions = context.warehouse.read_filled(tables.INTERACTIONS)
    histories = model_inputs(interactions, folder).persist(StorageLevel.DISK_ONLY)
    if unknown := count_unknown(histories, folder):
        log.warning("extract_representations: %s users are unknown to the model and left out", f"{unknown:,}")
    for rows in get_args(RowKind):
        target = RepresentationSet.of(
            context.settings, context.recommender_name, context.model_version, rows, context.dt
        )
        written = write_representations(
            extract(histories, folder, rows, settings, context.settings.seed),
            target,
            settings.row_group_mib,
            settings.minimum_row_groups,
        )
        log.info(
            "extract_representations: %s: %s rows, %.1f MiB, %s row groups",
            rows,
            f"{written.rows:,}",
            written.bytes / 2**20,
            written.row_groups,
        )
    write_representations(
        item_embeddings(context.spark, folder), target.item_embeddings(), settings.row_group_mib, minimum_row_groups=1
    )
    histories.unpersist()


if __name__ == "__main__":
    main(__file__, run)
