"""Extract user representations from the recommender into Parquet: what is audited, and what the SAE learns from.

spark-submit --properties-file conf/spark/local.conf jobs/extract_representations.py --dt 2026-11-20
recsae run extract_representations --dt 2026-11-20

Beside them go the item vectors, features and popularity of the items, and held-out users (rows dev and test) that
measure what reconstruction keeps. One pass of the model serves all probing sites. Representations of your own (kind
external) are validated and written the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.warehouse import tables
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.left_out import find_left_out, left_out_metrics
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.extract import extract, sites_of, write_sites
from recsae_lib.representations.item_embeddings import item_embeddings
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.own import write_own_representations
from recsae_lib.representations.write import write_representations
from recsae_lib.tuning.catalogue_rows import catalogue_rows


def run(context: JobContext) -> None:
    """Write representations, extracted or yours, then the item vectors and what is known of the items."""
    settings = context.settings.representations
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    own = context.settings.recommender.kind == External.kind
    (take_own if own else extract_all)(context, folder)
    name_left_out(context, folder, own)
    vectors = item_embeddings(context.spark, folder, context.settings.recommender.factory)
    read = context.warehouse.read_filled
    known = catalogue_rows(read(tables.ITEMS), read(tables.INTERACTIONS), folder)
    beside, row_group_mib = RepresentationSet.of_context(context, "last", DEFAULT_SITE), settings.row_group_mib
    for rows, target in ((vectors, beside.item_embeddings()), (known, beside.catalogue())):
        write_representations(rows, target, row_group_mib, minimum_row_groups=1)


def extract_all(context: JobContext, folder: Path) -> None:
    """Assemble the histories once, probe the model for each kind of rows, write each set as a whole."""
    settings, factory = context.settings.representations, context.settings.recommender.factory
    histories = keep(model_inputs(context.warehouse.read_filled(tables.INTERACTIONS), folder))

    def write(rows: RowKind) -> None:
        sets = [RepresentationSet.of_context(context, rows, site) for site in sites_of(rows, settings)]
        if not sets:
            return
        extracted = extract(histories, folder, rows, settings, context.settings.seed, factory)
        for target, written in zip(sets, write_sites(extracted, sets, settings), strict=True):
            log.info("extract_representations: %s at site %s: %s", rows, target.site, written.line())

    side_by_side(write, get_args(RowKind))
    free(histories)


def name_left_out(context: JobContext, folder: Path, own: bool) -> None:
    """Write what the recommender does not know, and say how much it is."""
    last = RepresentationSet.of_context(context, "last", DEFAULT_SITE)
    represented = context.spark.read.parquet(last.path) if own else None
    interactions = context.warehouse.read_filled(tables.INTERACTIONS)
    if not context.warehouse.replace(tables.LEFT_OUT, find_left_out(interactions, folder, represented)):
        return
    lost = left_out_metrics(context.warehouse.read(tables.LEFT_OUT), interactions)
    log.warning(
        "extract_representations: recommender version %s does not know %s items, and has no representation of %s "
        "users: %s interactions, %.1f %%, are left out; the table left_out has the reasons",
        context.model_version,
        *(f"{lost[name]:,.0f}" for name in ("new_items", "left_out_users", "left_out_interactions")),
        100 * lost["left_out_share"],
    )


def take_own(context: JobContext, folder: Path) -> None:
    """Validate the table of representations that the settings name, and write it as rows last and training."""
    name = context.settings.recommender.external.representations or ""
    last, training = (RepresentationSet.of_context(context, rows, DEFAULT_SITE) for rows in ("last", "training"))
    dimension, settings = load_recommender(folder).dimension, context.settings.representations
    own = write_own_representations(context.spark, name, dimension, last, training, settings)
    if own.refused:
        reasons = last.rejected("representations")
        log.warning("extract_representations: %s rows of %s refused, reasons in %s", f"{own.refused:,}", name, reasons)
    sizes = f"{own.written.rows:,} users of {name}, {own.dimension} values each"
    log.info("extract_representations: %s", sizes)


if __name__ == "__main__":
    main(__file__)
