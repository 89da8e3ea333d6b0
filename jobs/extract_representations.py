"""Extract user representations from the recommender into Parquet: what is audited, and what the SAE learns from.

spark-submit --properties-file conf/spark/local.conf jobs/extract_representations.py --dt 2026-11-20
recsae run extract_representations --dt 2026-11-20

Beside them go the item vectors, and held-out users (rows dev and test) that measure what reconstruction keeps. One pass
of the model serves all probing sites. Representations of your own (kind external) are validated and written the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pyspark import StorageLevel

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.tables import read_own_rows, validate_vectors, write_rejected
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.extract import count_unknown, extract, site_column, sites_of
from recsae_lib.representations.item_embeddings import item_embeddings
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.write import write_representations, write_sets


def run(context: JobContext) -> None:
    """Assemble the histories once, probe the model for each kind of rows, write each set as a whole."""
    if context.settings.recommender.kind == External.kind:
        _land_own(context)
        return
    settings, factory = context.settings.representations, context.settings.recommender.factory
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    interactions = context.warehouse.read_filled(tables.INTERACTIONS)
    histories = keep(model_inputs(interactions, folder))
    if unknown := count_unknown(histories, folder):
        log.warning("extract_representations: %s users are unknown to the model and left out", f"{unknown:,}")

    def write(rows: RowKind) -> None:
        if not (sites := sites_of(rows, settings)):
            return
        sets = {site_column(site): RepresentationSet.of_context(context, rows, site) for site in sites}
        written = write_sets(
            extract(histories, folder, rows, settings, context.settings.seed, factory),
            {column: target.path for column, target in sets.items()},
            "representation",
            settings.row_group_mib,
            settings.minimum_row_groups,
        )
        for column, target in sets.items():
            log.info(
                "extract_representations: %s at site %s: %s rows, %.1f MiB, %s row groups",
                rows,
                target.site,
                f"{written[column].rows:,}",
                written[column].bytes / 2**20,
                written[column].row_groups,
            )

    side_by_side(write, get_args(RowKind))
    _write_item_embeddings(context, folder)
    free(histories)


def _land_own(context: JobContext) -> None:
    """Validate the table of representations that the settings name and write it as rows last and training.

    Nobody is held out of a model that is not known: there are no rows dev and test.
    """
    settings = context.settings.representations
    if settings.sites != (DEFAULT_SITE,):
        raise InputError("Representations of your own have one site, last", "Leave representations.sites unset")
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    model = load_recommender(folder)
    name = context.settings.recommender.external.representations or ""
    rows = read_own_rows(context.spark, name, {"user_id": "id", "representation": "vector"})
    validated = validate_vectors(rows.persist(StorageLevel.DISK_ONLY), "user_id", "representation")
    first = validated.accepted.first()
    if first is None:
        raise InputError(
            f"{name} has no usable representation", "Give it (user_id, representation), arrays of finite floats"
        )
    if model.dimension not in (0, len(first["representation"])):
        raise InputError(
            f"{name} has vectors of {len(first['representation'])} values, the item vectors have {model.dimension}",
            "Give both of the same model: recommender.external",
        )
    last, training = (RepresentationSet.of_context(context, kind, DEFAULT_SITE) for kind in ("last", "training"))
    written = write_representations(validated.accepted, last, settings.row_group_mib, settings.minimum_row_groups)
    write_representations(
        context.spark.read.schema(validated.accepted.schema).parquet(last.path),
        training,
        settings.row_group_mib,
        settings.minimum_row_groups,
    )
    if refused := write_rejected(validated, last.rejected("representations")):
        log.warning(
            "extract_representations: %s rows of %s refused, reasons in %s",
            f"{refused:,}",
            name,
            last.rejected("representations"),
        )
    rows.unpersist()
    log.info("extract_representations: %s users of %s, %s values each", f"{written.rows:,}", name, len(first[1]))
    _write_item_embeddings(context, folder)


def _write_item_embeddings(context: JobContext, folder: Path) -> None:
    write_representations(
        item_embeddings(context.spark, folder, context.settings.recommender.factory),
        RepresentationSet.of_context(context, "last", DEFAULT_SITE).item_embeddings(),
        context.settings.representations.row_group_mib,
        minimum_row_groups=1,
    )


if __name__ == "__main__":
    main(__file__)
